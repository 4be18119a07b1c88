"""Liveness and readiness. Readiness names each part it needs and what is wrong with it, within a time limit."""

import asyncio
import time
from collections.abc import Awaitable, Callable, Mapping

from fastapi import APIRouter, Request, Response
from pydantic import BaseModel

CHECK_TIMEOUT_SECONDS = 2.0

Check = Callable[[], Awaitable[str]]
"""Returns a short sentence when all is well; raises when not."""


class Health(BaseModel):
    status: str
    version: str


class CheckResult(BaseModel):
    ok: bool
    detail: str


class Readiness(BaseModel):
    status: str
    checks: dict[str, CheckResult]


def health_router(version: str, checks: Mapping[str, Check]) -> APIRouter:
    router = APIRouter(tags=["health"])

    @router.get("/health", summary="Is the process alive?")
    async def live() -> Health:
        return Health(status="ok", version=version)

    @router.get("/health/ready", summary="Can it do its work now?", responses={503: {"model": Readiness}})
    async def ready(request: Request, response: Response) -> Readiness:
        if request.app.state.draining.has_begun:
            found = {"draining": CheckResult(ok=False, detail="asked to end: send new requests elsewhere")}
            return _not_ready(response, Readiness(status="draining", checks=found))
        results = await asyncio.gather(*(_run(check) for check in checks.values()))
        readiness = Readiness(
            status="ready" if all(each.ok for each in results) else "not_ready",
            checks=dict(zip(checks, results, strict=True)),
        )
        return readiness if readiness.status == "ready" else _not_ready(response, readiness)

    return router


def _not_ready(response: Response, readiness: Readiness) -> Readiness:
    response.status_code = 503
    response.headers["Retry-After"] = "2"
    return readiness


async def _run(check: Check) -> CheckResult:
    started = time.perf_counter()
    try:
        async with asyncio.timeout(CHECK_TIMEOUT_SECONDS):
            detail = await check()
    except TimeoutError:
        return CheckResult(ok=False, detail=f"no answer within {CHECK_TIMEOUT_SECONDS:g} s")
    except Exception as error:  # whatever a client library raises: not ready, and here is its class
        return CheckResult(ok=False, detail=type(error).__name__)
    return CheckResult(ok=True, detail=f"{detail} ({(time.perf_counter() - started) * 1000:.0f} ms)")
