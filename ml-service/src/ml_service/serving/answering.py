"""A request for predictions, from its arrival to its answer."""

import asyncio
import time
from collections.abc import Awaitable, Callable, Sequence
from typing import NamedTuple, TypeAlias

from fastapi import Request, Response

from ml_service.serving.access import PREDICTING
from ml_service.serving.answers import batch_answer, single_answer
from ml_service.serving.errors import NotAvailable
from ml_service.serving.found import Found
from ml_service.serving.predicting import Predicting, Row, Said
from ml_service.serving.request_body import read_body
from ml_service.serving.servable import Servable
from ml_service.serving.service import Serving
from ml_service.serving.understanding import Understood, understood_batch, understood_single
from ml_service.settings import Settings
from platform_kit.contract.prediction import Explanation
from platform_kit.plumbing.problems import Problem

ON_THE_LOOP_BYTES, ON_THE_LOOP_ROWS = 32 * 1024, 10
"""A request up to this size is understood where it arrived; a larger one would hold up the others."""
ROW_BYTES = 4 * 1024 * 1024
"""Of a request for one row: decoding a large object lets nobody else work meanwhile."""
MOST_EXPLAINED, MOST_SAMPLED = 1000, 20
"""Rows of one request: exact explanations take about a millisecond each, sampled ones up to some hundred."""


class Answered(NamedTuple):
    """rows: how many are answered; cached_rows: how many of them were known."""

    body: bytes
    rows: int
    cached_rows: int


Answer: TypeAlias = Callable[[Found, bytes, float], Awaitable[Answered]]


class Answering:
    def __init__(self, settings: Settings, serving: Serving, predicting: Predicting) -> None:
        self._serving, self._predicting = serving, predicting
        self._most_bytes, self._body_seconds = settings.max_request_bytes, settings.request_body_seconds

    async def single(self, request: Request, ref: str, number: int | None = None) -> Response:
        most_bytes = min(ROW_BYTES, self._most_bytes)
        return await self._answer(request, ref, number, self._single, most_bytes=most_bytes)

    async def batch(self, request: Request, ref: str, number: int | None = None) -> Response:
        return await self._answer(request, ref, number, self._batch, most_bytes=self._most_bytes)

    async def _answer(
        self, request: Request, ref: str, number: int | None, answer: Answer, *, most_bytes: int
    ) -> Response:
        """Refuse what cannot be answered soon before its body is read; note how it ended."""
        began = time.perf_counter()
        found: Found | None = None
        note = self._serving.note
        try:
            found = await self._serving.find(request, ref, number, PREDICTING)
            self._predicting.scoring.require_room(found.version.lane)
            raw = await read_body(request, most_bytes=most_bytes, within_seconds=self._body_seconds)
            answered = await answer(found, raw, began)
        except Problem as refusal:
            note(found, began, outcome="invalid" if refusal.status < 500 else "error")
            raise
        note(found, began, outcome="ok", rows=answered.rows, cached_rows=answered.cached_rows)
        return Response(answered.body, media_type="application/json")

    async def _single(self, found: Found, raw: bytes, began: float) -> Answered:
        rows, options, warnings = await _understood(understood_single, found.servable, raw)
        said = await self._predicting.single(found.version, rows[0], use_cache=options.use_cache)
        explanation = None
        if options.explain:
            (explanation,) = await self._explained(found, rows, [said])
        body = single_answer(found, said, options, began=began, warnings=warnings, explanation=explanation)
        return Answered(body, 1, int(said.from_cache))

    async def _batch(self, found: Found, raw: bytes, began: float) -> Answered:
        rows, options, warnings = await _understood(understood_batch, found.servable, raw)
        if options.explain:
            _require_few(found, rows)
        said = await self._predicting.many(found.version, rows, use_cache=options.use_cache)
        explanations = await self._explained(found, rows, said) if options.explain else ()
        body = batch_answer(found, said, options, began=began, warnings=warnings, explanations=explanations)
        return Answered(body, len(rows), sum(each.from_cache for each in said))

    async def _explained(self, found: Found, rows: Sequence[Row], said: Sequence[Said]) -> list[Explanation]:
        classes = [found.servable.winner(each.scored) for each in said]
        return await self._predicting.explained(found.version, rows, classes)


def _require_few(found: Found, rows: Sequence[Row]) -> None:
    """Raises NotAvailable."""
    most = MOST_EXPLAINED if found.version.explainer.is_exact else MOST_SAMPLED
    if len(rows) > most:
        raise NotAvailable(f"At most {most} rows of this model are explained at once; these are {len(rows)}.")


async def _understood(
    understand: Callable[[Servable, bytes], Understood], servable: Servable, raw: bytes
) -> Understood:
    if len(raw) <= ON_THE_LOOP_BYTES and raw.count(b"{") <= ON_THE_LOOP_ROWS + 1:
        return understand(servable, raw)
    return await asyncio.to_thread(understand, servable, raw)
