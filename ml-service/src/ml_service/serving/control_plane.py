"""ml-service's side of api-server's internal API."""

from collections.abc import Sequence
from typing import Self
from urllib.parse import quote
from uuid import uuid4

import httpx2

from ml_service.settings import Settings
from platform_kit.contract.access import (
    CredentialKind,
    Introspection,
    IntrospectionRequest,
    Principal,
    Refusal,
    Refusals,
)
from platform_kit.contract.serving import ModelLookup, ReplicaReport, ServingState


class Unreachable(Exception):
    """Refused, too slow, or a fault of api-server's own."""


class ControlPlane:
    def __init__(self, http: httpx2.AsyncClient, *, auth_timeout_seconds: float) -> None:
        self._http, self._auth_timeout = http, auth_timeout_seconds
        self.replica = f"ml-{uuid4().hex[:12]}"

    @classmethod
    def from_settings(cls, settings: Settings) -> Self:
        http = httpx2.AsyncClient(
            base_url=settings.api_internal_url,
            headers={"X-Internal-Token": settings.internal_token.get_secret_value()},
            timeout=httpx2.Timeout(5, connect=1),
        )
        return cls(http, auth_timeout_seconds=settings.auth_timeout_seconds)

    async def close(self) -> None:
        await self._http.aclose()

    async def sync(self, report: ReplicaReport) -> ServingState:
        """Raises Unreachable."""
        answer = await self._send("POST", "/internal/serving/sync", report.model_dump_json())
        return ServingState.model_validate_json(answer.content)

    async def look_up(self, ref: str, version: int | None) -> ModelLookup | None:
        """Raises Unreachable."""
        params = {} if version is None else {"version": str(version)}
        path = httpx2.URL("/internal/serving/models/" + quote(ref, safe=""), params=params)
        answer = await self._send("GET", path, None)
        return None if answer.status_code == 404 else ModelLookup.model_validate_json(answer.content)

    async def introspect(self, kind: CredentialKind, credential: str) -> Principal | None:
        """Raises Unreachable, also when the answer takes longer than a prediction should wait."""
        body = IntrospectionRequest(kind=kind, credential=credential).model_dump_json()
        answer = await self._send("POST", "/internal/access/introspect", body, within=self._auth_timeout)
        return Introspection.model_validate_json(answer.content).principal

    async def report_refusals(self, refusals: Sequence[Refusal]) -> None:
        """Raises Unreachable."""
        body = Refusals(refusals=list(refusals)).model_dump_json()
        await self._send("POST", "/internal/access/refusals", body)

    async def _send(
        self, method: str, url: str | httpx2.URL, body: str | None, *, within: float | None = None
    ) -> httpx2.Response:
        try:
            answer = await self._http.request(
                method,
                url,
                content=body,
                headers={"Content-Type": "application/json"},
                timeout=httpx2.USE_CLIENT_DEFAULT if within is None else within,
            )
        except httpx2.TransportError as error:
            raise Unreachable(repr(error)) from error
        if answer.status_code not in (200, 204, 404):
            raise Unreachable(f"answered {answer.status_code}")
        return answer
