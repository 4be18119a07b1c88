"""api-server's way to ml-service. The caller's own credential travels along: ml-service decides what it may do."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from urllib.parse import quote

import httpx2
import structlog

from api_server.audit_trail import Who
from api_server.settings import Settings
from platform_kit.contract.problem import ProblemDetail
from platform_kit.plumbing.problems import Unavailable

PASSED_ON = ("authorization", "x-api-key")
KEPT = ("retry-after", "www-authenticate")
IDLE_SECONDS = 3.0
"""Less than ml-service keeps an idle connection: a request that meets its end would fail."""

log = structlog.get_logger(__name__)


class MlServiceAway(Unavailable):
    code = "ml_service_unavailable"

    def __init__(self) -> None:
        super().__init__("The prediction service does not answer; nothing was predicted. Please try again.")


@dataclass(frozen=True)
class Refusal:
    """What ml-service said instead of an answer, in its own words."""

    detail: ProblemDetail
    headers: dict[str, str]


class MlClient:
    def __init__(self, settings: Settings) -> None:
        self._http = httpx2.AsyncClient(
            base_url=settings.ml_internal_url,
            timeout=httpx2.Timeout(30, connect=2),
            limits=httpx2.Limits(max_connections=100, keepalive_expiry=IDLE_SECONDS),
        )

    async def close(self) -> None:
        await self._http.aclose()

    async def check(self) -> str:
        (await self._http.get("/health")).raise_for_status()
        return "answers"

    async def predict(
        self, ref: str, body: bytes, *, headers: Mapping[str, str], who: Who
    ) -> bytes | Refusal:
        """Ask for one prediction, with the caller's credential. The answer is what ml-service sent, byte for byte.

        Raises MlServiceAway when there is no answer.
        """
        passed_on = {name: headers[name] for name in PASSED_ON if name in headers}
        # The id of this request also where the caller sent none: a refusal of ml-service names it.
        known = {"X-Request-ID": who.request_id, "X-Forwarded-For": who.address}
        passed_on |= {name: value for name, value in known.items() if value is not None}
        try:
            answer = await self._http.post(
                f"/predict/{quote(ref, safe='')}",
                content=body,
                headers={**passed_on, "Content-Type": "application/json"},
            )
        except httpx2.TransportError as error:
            raise MlServiceAway from error
        return answer.content if answer.status_code == 200 else _refusal(answer)


def _refusal(answer: httpx2.Response) -> Refusal:
    try:
        # By way of Python: half a surrogate pair that it quotes would not be read otherwise.
        detail = ProblemDetail.model_validate(json.loads(answer.content))
    except ValueError as error:
        log.warning("ml_service.no_problem", status=answer.status_code)
        raise MlServiceAway from error
    return Refusal(detail, {name: answer.headers[name] for name in KEPT if name in answer.headers})
