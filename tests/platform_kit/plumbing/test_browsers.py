"""Which pages of other origins may call."""

import httpx2
import pytest

from tests.platform_kit.plumbing.sample import client, service

ORIGIN = "https://app.example.com"
ASKED_FOR = "authorization, idempotency-key, x-api-key, if-match"


async def ask(
    http: httpx2.AsyncClient, origin: str, *, method: str = "POST", headers: str = ASKED_FOR
) -> httpx2.Response:
    sent = {
        "Origin": origin,
        "Access-Control-Request-Method": method,
        "Access-Control-Request-Headers": headers,
    }
    return await http.options("/things", headers=sent)


class TestAllowBrowsers:
    async def test_lets_the_named_origins_call_and_read_our_headers(self) -> None:
        async with client(service(cors_origins=(ORIGIN,))) as http:
            asked = await ask(http, ORIGIN)
            refused = await http.post("/things", json={}, headers={"Origin": ORIGIN})

        assert (asked.status_code, asked.headers["Access-Control-Allow-Origin"]) == (200, ORIGIN)
        assert refused.status_code == 422
        assert refused.headers["Access-Control-Allow-Origin"] == ORIGIN
        exposed = refused.headers["Access-Control-Expose-Headers"].split(", ")
        limits = ["RateLimit-Limit", "RateLimit-Remaining", "RateLimit-Reset"]
        assert exposed == ["X-Request-ID", "Location", "ETag", "Retry-After", *limits]

    @pytest.mark.parametrize(
        "origin",
        [
            "https://evil.example",
            "null",
            f"{ORIGIN}.evil.org",
            "http://app.example.com",
            f"{ORIGIN}:444",
            "https://APP.example.com",
            "",
        ],
    )
    async def test_lets_nobody_else(self, origin: str) -> None:
        async with client(service(cors_origins=(ORIGIN,))) as http:
            asked = await ask(http, origin)
            answer = await http.get("/health", headers={"Origin": origin})

        assert "Access-Control-Allow-Origin" not in {**asked.headers, **answer.headers}
        assert asked.status_code == 400

    async def test_names_methods_and_headers_instead_of_allowing_all(self) -> None:
        async with client(service(cors_origins=(ORIGIN,))) as http:
            allowed = await ask(http, ORIGIN)
            method = await ask(http, ORIGIN, method="TRACE")
            header = await ask(http, ORIGIN, headers="x-internal-token")

        for name in ("Access-Control-Allow-Methods", "Access-Control-Allow-Headers"):
            assert "*" not in allowed.headers[name]
        assert (method.status_code, header.status_code) == (400, 400)

    async def test_to_everybody_is_without_the_browsers_credentials(self) -> None:
        async with client(service(cors_origins=("*",))) as http:
            answer = await http.get("/health", headers={"Origin": ORIGIN})

        assert answer.headers["Access-Control-Allow-Origin"] == "*"
        assert "Access-Control-Allow-Credentials" not in answer.headers

    async def test_is_for_nobody_unless_asked_for(self) -> None:
        async with client(service()) as http:
            answer = await http.get("/health", headers={"Origin": ORIGIN})

        assert not [name for name in answer.headers if name.startswith("access-control")]

    async def test_lets_pages_read_a_fault_of_ours(self) -> None:
        async with client(service(cors_origins=(ORIGIN,))) as http:
            answer = await http.post("/things", json={"name": "bug", "size": 1}, headers={"Origin": ORIGIN})

        assert (answer.status_code, answer.headers["Access-Control-Allow-Origin"]) == (500, ORIGIN)
