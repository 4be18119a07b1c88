"""api-server's way to ml-service. The caller's own credential travels along: ml-service decides what it may do."""

import json
from collections.abc import Mapping
from typing import Any
from urllib.parse import quote

import httpx2
from fastapi import Response

from api_server.audit_trail import Who
from api_server.settings import Settings
from platform_kit.contract.prediction import Prediction
from platform_kit.plumbing.problems import MEDIA_TYPE, Unavailable

PASSED_ON = ("authorization", "x-api-key")


class MlServiceAway(Unavailable):
    code = "ml_service_unavailable"

    def __init__(self) -> None:
        super().__init__("The prediction service does not answer; nothing was predicted. Please try again.")


class MlClient:
    def __init__(self, settings: Settings) -> None:
        self._http = httpx2.AsyncClient(
            base_url=settings.ml_internal_url,
            timeout=httpx2.Timeout(30, connect=2),
            limits=httpx2.Limits(max_connections=100),
        )

    async def close(self) -> None:
        await self._http.aclose()

    async def check(self) -> str:
        (await self._http.get("/health")).raise_for_status()
        return "answers"

    async def predict(
        self, ref: str, row: dict[str, Any], *, headers: Mapping[str, str], who: Who
    ) -> Prediction | Response:
        """Ask for one prediction, with the caller's credential; a refusal is returned as ml-service worded it.

        Raises MlServiceAway when there is no answer.
        """
        passed_on = {name: headers[name] for name in PASSED_ON if name in headers}
        # The id of this request also where the caller sent none: a refusal of ml-service names it.
        known = {"X-Request-ID": who.request_id, "X-Forwarded-For": who.address}
        passed_on |= {name: value for name, value in known.items() if value is not None}
        # json.dumps keeps NaN and Infinity, so that ml-service can name the field that holds them.
        body = json.dumps(row).encode()
        try:
            answer = await self._http.post(
                f"/predict/{quote(ref, safe='')}",
                content=body,
                headers={**passed_on, "Content-Type": "application/json"},
            )
        except httpx2.TransportError as error:
            raise MlServiceAway from error
        if answer.status_code != 200:
            kept = {
                name: answer.headers[name]
                for name in ("retry-after", "www-authenticate")
                if name in answer.headers
            }
            return Response(
                answer.content, status_code=answer.status_code, media_type=MEDIA_TYPE, headers=kept
            )
        return Prediction.model_validate_json(answer.content)
