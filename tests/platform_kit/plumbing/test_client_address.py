"""Whose request it is, as the routes see it."""

from ipaddress import ip_network
from typing import Any

import pytest

from tests.platform_kit.plumbing.sample import client, service

PROXY = "10.0.0.7"
TRUSTED: Any = tuple(map(ip_network, ("10.0.0.0/8", "2001:db8:1::/64")))


async def caller(peer: str, *said: tuple[str, str], trusted: Any = TRUSTED) -> tuple[str, str]:
    async with client(service(trusted_proxies=trusted), address=peer) as http:
        found = (await http.get("/caller", headers=list(said))).json()
    return found["address"], found["scheme"]


class TestTrustedProxies:
    @pytest.mark.parametrize(
        ("said", "expected"),
        [
            ("203.0.113.9", "203.0.113.9"),
            ("203.0.113.9, 10.0.0.8", "203.0.113.9"),
            ("6.6.6.6, 203.0.113.9, 10.0.0.8, 10.0.0.9", "203.0.113.9"),
            ("made up, 203.0.113.9", "203.0.113.9"),
            ("203.0.113.9:4711", "203.0.113.9"),
            ("[2001:db8::5]:4711", "2001:db8::5"),
            ("2001:DB8::5", "2001:db8::5"),
            ("::ffff:203.0.113.9", "203.0.113.9"),
            ("10.0.0.8", "10.0.0.8"),
            ("10.1.1.1, 10.0.0.8", "10.1.1.1"),
        ],
    )
    async def test_say_who_the_caller_is(self, said: str, expected: str) -> None:
        assert (await caller(PROXY, ("X-Forwarded-For", said)))[0] == expected

    async def test_say_it_in_as_many_headers_as_they_like(self) -> None:
        said = (
            ("X-Forwarded-For", "6.6.6.6"),
            ("X-Forwarded-For", "203.0.113.9"),
            ("X-Forwarded-For", "10.0.0.8"),
        )

        assert (await caller(PROXY, *said))[0] == "203.0.113.9"

    @pytest.mark.parametrize(
        "said",
        ["", ",", "unknown", "203.0.113.9, _hidden", "203.0.113.999", "1.2.3", "[::1", "<b>", "9" * 5000],
    )
    async def test_that_say_no_address_are_the_callers(self, said: str) -> None:
        assert (await caller(PROXY, ("X-Forwarded-For", said)))[0] == PROXY

    async def test_may_have_an_address_of_either_version(self) -> None:
        said = ("X-Forwarded-For", "203.0.113.9")

        assert (await caller("2001:db8:1::2", said))[0] == "203.0.113.9"
        assert (await caller(f"::ffff:{PROXY}", said))[0] == "203.0.113.9"
        assert (await caller("2001:db8:2::2", said))[0] == "2001:db8:2::2"

    @pytest.mark.parametrize(
        ("said", "scheme"),
        [("https", "https"), (" HTTPS ", "https"), ("javascript", "http"), ("https, http", "http")],
    )
    async def test_say_the_scheme(self, said: str, scheme: str) -> None:
        assert (await caller(PROXY, ("X-Forwarded-Proto", said)))[1] == scheme

    @pytest.mark.parametrize("trusted", [TRUSTED, ()])
    async def test_alone_are_believed(self, trusted: Any) -> None:
        said = (
            ("X-Forwarded-For", "203.0.113.9"),
            ("X-Forwarded-Proto", "https"),
            ("X-Real-IP", "203.0.113.9"),
        )

        assert await caller("198.51.100.1", *said, trusted=trusted) == ("198.51.100.1", "http")
