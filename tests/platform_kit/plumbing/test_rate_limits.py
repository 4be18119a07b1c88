"""Rate limits as callers meet them."""

from ipaddress import ip_network
from typing import Any

import httpx2
import pytest
from fastapi import FastAPI, Request

from platform_kit.plumbing.problems import MEDIA_TYPE
from platform_kit.plumbing.rate_limits import RateLimits, rate_limits_of
from tests.platform_kit.plumbing.sample import client, service

SHOWN = ("RateLimit-Limit", "RateLimit-Remaining", "RateLimit-Reset")


def limited(*, address: str = "", principal: str = "", **changes: Any) -> FastAPI:
    app = service(**changes)
    app.state.rate_limits = RateLimits(address=address, principal=principal)

    @app.get("/mine/{principal}")
    async def mine(principal: str, request: Request) -> dict[str, bool]:
        await rate_limits_of(request).require_principal(principal)
        return {"ok": True}

    @app.get("/registrations")
    async def register(request: Request) -> dict[str, bool]:
        await rate_limits_of(request).require_address("registration", "1/hour")
        return {"ok": True}

    return app


def shown(answer: httpx2.Response) -> tuple[int, int]:
    assert 1 <= int(answer.headers["RateLimit-Reset"]) <= 3600
    return int(answer.headers["RateLimit-Limit"]), int(answer.headers["RateLimit-Remaining"])


class TestAddressLimit:
    async def test_counts_down_and_then_refuses_with_a_problem(self) -> None:
        async with client(limited(address="2/hour")) as http:
            answers = [await http.get("/names/x") for _ in range(3)]

        assert [each.status_code for each in answers] == [200, 200, 429]
        assert [shown(each) for each in answers] == [(2, 1), (2, 0), (2, 0)]
        refused = answers[-1]
        assert refused.headers["content-type"] == MEDIA_TYPE
        assert refused.json()["code"] == "rate_limited"
        assert "2 requests per hour" in refused.json()["detail"]
        assert refused.json()["request_id"] == refused.headers["X-Request-ID"]
        assert 1 <= int(refused.headers["Retry-After"]) <= 3600
        assert refused.headers["X-Content-Type-Options"] == "nosniff"

    async def test_is_of_each_address(self) -> None:
        app = limited(address="1/hour")

        found = [
            (await client(app, address=each).get("/names/x")).status_code for each in ("1.1.1.1", "1.1.1.2")
        ]

        assert found == [200, 200]

    async def test_is_of_the_whole_network_that_an_address_of_version_6_belongs_to(self) -> None:
        app = limited(address="1/hour")

        found = [
            (await client(app, address=each).get("/names/x")).status_code
            for each in ("2001:db8::1", "2001:db8::2:2", "2001:db8:0:1::1")
        ]

        assert found == [200, 429, 200]

    async def test_is_of_the_caller_behind_a_proxy(self) -> None:
        app = limited(address="1/hour", trusted_proxies=(ip_network("127.0.0.1"),))
        async with client(app) as http:
            found = [
                (await http.get("/names/x", headers={"X-Forwarded-For": each})).status_code
                for each in ("203.0.113.1", "203.0.113.2", "6.6.6.6, 203.0.113.1")
            ]

        assert found == [200, 200, 429]

    async def test_comes_before_the_body_is_read(self) -> None:
        async def never() -> Any:
            yield b""
            raise AssertionError("the body was asked for")

        async with client(limited(address="1/hour")) as http:
            await http.get("/names/x")
            answer = await http.post("/things", content=never())

        assert answer.status_code == 429

    @pytest.mark.parametrize(
        "path",
        [
            "/health",
            "/health/ready",
            "/metrics",
            "/docs",
            "/redoc",
            "/docs/assets/x",
            "/openapi.json",
            "/internal/x",
        ],
    )
    async def test_does_not_count_what_keeps_the_platform_going(self, path: str) -> None:
        async with client(limited(address="1/hour")) as http:
            answers = [await http.get(path) for _ in range(3)]

        assert 429 not in [each.status_code for each in answers]
        assert not set(SHOWN) & {name for each in answers for name in each.headers}

    @pytest.mark.parametrize("path", ["/nowhere", "/healthy", "/docs-of-mine", "/names/internal"])
    async def test_counts_everything_else(self, path: str) -> None:
        async with client(limited(address="1/hour")) as http:
            answers = [await http.get(path) for _ in range(2)]

        assert answers[1].status_code == 429

    async def test_that_is_off_shows_nothing(self) -> None:
        async with client(limited()) as http:
            answer = await http.get("/names/x")

        assert not [name for name in answer.headers if name.startswith("ratelimit")]

    async def test_stands_on_faults_of_ours_as_well(self) -> None:
        async with client(limited(address="5/hour")) as http:
            answer = await http.post("/things", json={"name": "bug", "size": 1})

        assert (answer.status_code, shown(answer)) == (500, (5, 4))


class TestRequirePrincipal:
    async def test_is_one_limit_from_whatever_address(self) -> None:
        app = limited(address="100/hour", principal="2/hour")

        answers = [await client(app, address=f"10.0.0.{last}").get("/mine/ada") for last in range(3)]
        other = await client(app).get("/mine/bob")

        assert [each.status_code for each in answers] == [200, 200, 429]
        assert answers[-1].json()["code"] == "rate_limited"
        assert other.status_code == 200

    @pytest.mark.parametrize(
        ("address", "principal", "expected"), [("9/hour", "5/hour", (5, 4)), ("3/hour", "5/hour", (3, 2))]
    )
    async def test_shows_the_limit_that_leaves_least_room(
        self, address: str, principal: str, expected: tuple[int, int]
    ) -> None:
        async with client(limited(address=address, principal=principal)) as http:
            answer = await http.get("/mine/ada")

        assert shown(answer) == expected

    async def test_keeps_long_and_odd_names_short(self) -> None:
        app = limited(principal="1/hour")
        async with client(app) as http:
            answers = [await http.get(f"/mine/{name}") for name in ("n" * 500, "n" * 501, "n" * 500, "é{}*")]

        keys = list(app.state.rate_limits.counters._windows)
        assert [each.status_code for each in answers] == [200, 200, 429, 200]
        assert all(len(key) < 100 and key.isascii() for key in keys)


class TestRequireAddress:
    async def test_is_a_limit_of_its_own(self) -> None:
        async with client(limited(address="100/hour")) as http:
            answers = [await http.get("/registrations") for _ in range(2)]
            other = await http.get("/names/x")

        assert [each.status_code for each in answers] == [200, 429]
        assert [shown(each) for each in answers] == [(1, 0), (1, 0)]
        assert other.status_code == 200
