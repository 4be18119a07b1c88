"""What every answer says to browsers."""

import base64
import hashlib
import re
from collections.abc import AsyncIterator
from typing import Any

import httpx2
import pytest

from tests.platform_kit.plumbing.sample import client, service

NOTHING = "default-src 'none'; frame-ancestors 'none'"
INLINE = re.compile(r"<script>(.*?)</script>", re.DOTALL)


@pytest.fixture
async def http() -> AsyncIterator[httpx2.AsyncClient]:
    async with client(service(public_api_url="https://api.example.com:8000/")) as opened:
        yield opened


def directives(answer: httpx2.Response) -> dict[str, str]:
    parts = [each.strip().partition(" ") for each in answer.headers["Content-Security-Policy"].split(";")]
    return {name: value for name, _, value in parts}


class TestSecurityHeaders:
    @pytest.mark.parametrize(
        ("method", "path", "body"),
        [
            ("GET", "/health", None),
            ("GET", "/health/ready", None),
            ("GET", "/metrics", None),
            ("GET", "/openapi.json", None),
            ("GET", "/nowhere", None),
            ("GET", "/names/%00", None),
            ("DELETE", "/things", None),
            ("POST", "/things", {}),
            ("POST", "/things", {"name": "a", "size": 1}),
            ("POST", "/things", {"name": "bug", "size": 1}),
            ("GET", "/docs", None),
            ("GET", "/redoc/", None),
            ("GET", "/docs/oauth2-redirect", None),
            ("GET", "/docs/assets/swagger-ui.css", None),
            ("GET", "/docs/assets/nothing.css", None),
        ],
    )
    async def test_are_on_every_answer_once(
        self, http: httpx2.AsyncClient, method: str, path: str, body: Any
    ) -> None:
        answer = await http.request(method, path, json=body)

        names = (
            [name.lower() for name, _ in answer.headers.raw_items()]
            if hasattr(answer.headers, "raw_items")
            else [name.decode().lower() for name, _ in answer.headers.raw]
        )
        for name, value in {
            "x-content-type-options": "nosniff",
            "x-frame-options": "DENY",
            "referrer-policy": "no-referrer",
            "cross-origin-opener-policy": "same-origin",
        }.items():
            assert (answer.headers[name], names.count(name)) == (value, 1)
        assert "camera=()" in answer.headers["permissions-policy"]
        assert names.count("content-security-policy") == 1
        assert "frame-ancestors 'none'" in answer.headers["content-security-policy"]
        if not path.startswith(("/docs", "/redoc")):
            assert answer.headers["content-security-policy"] == NOTHING

    @pytest.mark.parametrize("path", ["/health", "/nowhere", "/openapi.json"])
    async def test_keep_json_out_of_caches(self, http: httpx2.AsyncClient, path: str) -> None:
        assert (await http.get(path)).headers["Cache-Control"] == "no-store"

    async def test_leave_what_a_route_says_itself(self, http: httpx2.AsyncClient) -> None:
        answer = await http.get("/own-headers")

        assert answer.headers["Cache-Control"] == "max-age=5"
        assert answer.headers["Content-Security-Policy"] == "sandbox"

    async def test_leave_files_of_ours_to_caches(self, http: httpx2.AsyncClient) -> None:
        assert "no-store" not in (await http.get("/docs/assets/swagger-ui.css")).headers.get(
            "Cache-Control", ""
        )


class TestPages:
    @pytest.mark.parametrize("path", ["/docs", "/docs/", "/redoc", "/docs/oauth2-redirect"])
    @pytest.mark.parametrize("prefix", [{}, {"X-Forwarded-Prefix": "/ml"}])
    async def test_run_the_scripts_that_stand_in_them_and_no_other(
        self, http: httpx2.AsyncClient, path: str, prefix: dict[str, str]
    ) -> None:
        answer = await http.get(path, headers=prefix)

        scripts = [script.encode() for script in INLINE.findall(answer.text)]
        hashes = [f"'sha256-{base64.b64encode(hashlib.sha256(each).digest()).decode()}'" for each in scripts]
        assert directives(answer)["script-src"].split() == ["'self'", *hashes]
        assert len(scripts) == (0 if path == "/redoc" else 1)
        assert int(answer.headers["Content-Length"]) == len(answer.content)

    @pytest.mark.parametrize("path", ["/docs", "/docs/assets/swagger-ui.css"])
    async def test_call_this_service_and_where_they_sign_in(
        self, http: httpx2.AsyncClient, path: str
    ) -> None:
        found = directives(await http.get(path))

        assert found["connect-src"] == "'self' https://api.example.com:8000"
        assert found["default-src"] == "'none'"
        assert "unsafe" not in found["script-src"]
