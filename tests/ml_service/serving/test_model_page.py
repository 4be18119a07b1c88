"""The page of a model as it is sent: the same for every name, and with a policy under which it runs."""

import base64
import hashlib
import re

import httpx2

from ml_service.settings import Settings
from tests.ml_service.serving.calling import OWNER, names

INLINE = re.compile(r"<script>(.*?)</script>", re.DOTALL)
LINKED = re.compile(r'(?:href|src)="([^"]+)"')


class TestModelPage:
    async def test_is_the_same_whether_or_not_there_is_such_a_model(
        self, deployed: httpx2.AsyncClient
    ) -> None:
        answers = [
            await deployed.get(f"/models/{name}/docs", headers=headers)
            for name in ("churn", "demo_model_1", "nobody-knows", "%3Cscript%3E")
            for headers in ({}, OWNER)
        ]

        assert {each.status_code for each in answers} == {200}
        assert {each.headers["content-type"] for each in answers} == {"text/html; charset=utf-8"}
        assert len({each.text for each in answers}) == 1

    async def test_runs_its_own_script_and_no_other(self, client: httpx2.AsyncClient) -> None:
        answer = await client.get("/models/demo_model_1/docs/")

        (script,) = INLINE.findall(answer.text)
        digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
        policy = answer.headers["Content-Security-Policy"]
        assert f"script-src 'self' 'sha256-{digest}';" in policy
        assert "innerHTML" not in script
        assert "localStorage" not in script

    async def test_finds_everything_behind_a_proxy_and_without(
        self, client: httpx2.AsyncClient, settings: Settings
    ) -> None:
        for prefix, tokens in (("", settings.public_api_url), ("/ml", "")):
            page = (await client.get("/models/x/docs", headers={"X-Forwarded-Prefix": prefix})).text

            assert f'data-prefix="{prefix}" data-token-url="{tokens}/api/v1/auth/token"' in page
            for address in LINKED.findall(page):
                assert address.startswith(f"{prefix}/docs"), address
                assert (await client.get(address.removeprefix(prefix))).status_code == 200, address

    async def test_is_named_in_the_list_of_models(
        self, deployed: httpx2.AsyncClient, settings: Settings
    ) -> None:
        listed = (await deployed.get("/models", headers=OWNER)).json()["models"]
        one = (await deployed.get("/models/churn", headers=OWNER)).json()

        assert await names(deployed, OWNER) == [each["name"] for each in listed]
        assert {each["docs_url"] for each in listed} == {
            f"{settings.public_ml_url}/models/{name}/docs"
            for name in ("demo_model_1", "demo_model_2", "churn")
        }
        assert one["docs_url"] == f"{settings.public_ml_url}/models/churn/docs"

    async def test_shows_what_anybody_may_see_only(self, deployed: httpx2.AsyncClient) -> None:
        """The page asks with its reader's credential: without one, it finds what the document says to nobody."""
        statuses = {
            name: (await deployed.get(f"/models/{name}/openapi.json")).status_code
            for name in ("demo_model_1", "churn", "nobody-knows")
        }

        assert statuses == {"demo_model_1": 200, "churn": 401, "nobody-knows": 401}
