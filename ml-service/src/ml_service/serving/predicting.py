"""From checked rows to what the model says of them: from the cache, or from the model, once for all who ask."""

import asyncio
from collections.abc import Sequence
from functools import partial
from typing import Any, NamedTuple

from ml_service.artifacts.predictor import Scored
from ml_service.explanations.problems import NotExplainable
from ml_service.serving import metrics
from ml_service.serving.errors import NotAvailable
from ml_service.serving.loaded_models import LoadedVersion
from ml_service.serving.prediction_cache import LocalCache, SharedCache, key_of
from ml_service.serving.scoring import Scoring
from ml_service.settings import Settings
from platform_kit.contract.inputs import Value
from platform_kit.contract.prediction import Explanation

Row = Sequence[Value]

MOST_SHARED_ROWS = 256
"""Of one request: to send and to read these takes about 10 ms of the event loop, and models take much less for each row
of many than for one."""


class Said(NamedTuple):
    """What was said of one row, and whether it came from the cache."""

    scored: Scored
    from_cache: bool


class Predicting:
    def __init__(self, settings: Settings) -> None:
        self.scoring = Scoring(settings)
        self.local = LocalCache(settings.prediction_cache_bytes)
        self._shared = SharedCache.from_settings(settings)
        self._shared_from = settings.prediction_cache_shared_from_microseconds / 1e6
        self._keeps = settings.prediction_cache_bytes > 0
        self._asking: dict[bytes, asyncio.Future[Scored]] = {}
        self._under_way: set[asyncio.Task[Any]] = set()

    async def close(self) -> None:
        self.scoring.close()
        await self._shared.close()

    def is_at_once(self, version: LoadedVersion, row: Row, *, use_cache: bool) -> bool:
        """Whether `at_once` says what is said of the row."""
        if self._is_quick(version, use_cache=use_cache):
            return True
        return use_cache and self._keeps and self.local.find(key_of(version.digest, row)) is not None

    def at_once(self, version: LoadedVersion, row: Row, *, use_cache: bool) -> Said | None:
        """What is said of one row, if that can be found out without waiting; else None. Raises ModelUnavailable."""
        if use_cache and self._keeps:
            key = key_of(version.digest, row)
            known = self.local.find(key)
            if known is not None:
                metrics.CACHE_HITS.inc()
                return Said(known, from_cache=True)
        if not self._is_quick(version, use_cache=use_cache):
            return None
        ask = partial(_score, version, [row])
        scored = self.scoring.at_once(version.lane, ask, rows=1)[0]
        if use_cache and self._keeps:
            metrics.CACHE_MISSES.inc()
            self.local.keep(key, scored)
        return Said(scored, from_cache=False)

    async def single(self, version: LoadedVersion, row: Row, *, use_cache: bool) -> Said:
        """What is said of one row. Raises ModelUnavailable, Overloaded."""
        return (
            self.at_once(version, row, use_cache=use_cache)
            or ((await self.many(version, [row], use_cache=use_cache))[0])
        )

    async def many(self, version: LoadedVersion, rows: Sequence[Row], *, use_cache: bool) -> list[Said]:
        """What is said of each row; the rows that nobody knows are asked about together.

        Raises ModelUnavailable, Overloaded.
        """
        if not use_cache or not self._keeps:
            return [Said(each, from_cache=False) for each in await self._ask(version, rows)]
        keys = [key_of(version.digest, row) for row in rows]
        known = {key: scored for key in keys if (scored := self.local.find(key)) is not None}
        unknown = {key: row for key, row in zip(keys, rows, strict=True) if key not in known}
        found, asked = await self._once(version, unknown) if unknown else ({}, set())
        said = [Said(known.get(key) or found[key], from_cache=key not in asked) for key in keys]
        hits = sum(each.from_cache for each in said)
        metrics.CACHE_HITS.inc(hits)
        metrics.CACHE_MISSES.inc(len(rows) - hits)
        return said

    async def explained(
        self, version: LoadedVersion, rows: Sequence[Row], classes: Sequence[int | None]
    ) -> list[Explanation]:
        """Why the model says so of each row. classes: what is answered for each; None for regression.

        Raises NotAvailable, ModelUnavailable, Overloaded.
        """
        explained = [each for each in classes if each is not None] or None

        def explain() -> list[Explanation] | NotExplainable:
            try:
                return version.explainer.explain(rows, version.predictor.encode(rows), explained=explained)
            except NotExplainable as reason:  # the model is not to blame
                return reason

        found = await self.scoring.asked(version.explaining, explain)
        if isinstance(found, NotExplainable):
            raise NotAvailable(str(found))
        return found

    async def _once(
        self, version: LoadedVersion, rows: dict[bytes, Row]
    ) -> tuple[dict[bytes, Scored], set[bytes]]:
        """Answers by key, and which of them the model gave for this request: rows that others are asking about at
        this moment are waited for."""
        others = {key: self._asking[key] for key in rows if key in self._asking}
        mine = {key: row for key, row in rows.items() if key not in others}
        found, asked = await self._to_its_end(version, mine) if mine else ({}, set())
        for key, answer in others.items():
            found[key] = await asyncio.shield(answer)
        return found, asked

    async def _to_its_end(
        self, version: LoadedVersion, rows: dict[bytes, Row]
    ) -> tuple[dict[bytes, Scored], set[bytes]]:
        """Others may wait for the same answers: they are found also when the request that began it is given up."""
        loop = asyncio.get_running_loop()
        answers = {key: loop.create_future() for key in rows}
        self._asking.update(answers)
        work = asyncio.create_task(self._found_out(version, rows, answers))
        self._under_way.add(work)
        work.add_done_callback(self._under_way.discard)
        return await asyncio.shield(work)

    async def _found_out(
        self, version: LoadedVersion, rows: dict[bytes, Row], answers: "dict[bytes, asyncio.Future[Scored]]"
    ) -> tuple[dict[bytes, Scored], set[bytes]]:
        try:
            found = await self._from_redis(version, list(rows))
            unknown = [key for key in rows if key not in found]
            if unknown:
                scored = await self._ask(version, [rows[key] for key in unknown])
                found.update(zip(unknown, scored, strict=True))
        except BaseException as error:
            for answer in answers.values():
                answer.set_exception(error if isinstance(error, Exception) else asyncio.CancelledError())
                answer.exception()  # seen, also where nobody waits
            raise
        finally:
            for key in rows:
                self._asking.pop(key, None)
        for key, answer in answers.items():
            self.local.keep(key, found[key])
            answer.set_result(found[key])
        await self._to_redis(version, [(key, found[key]) for key in unknown])
        return found, set(unknown)

    async def _ask(self, version: LoadedVersion, rows: Sequence[Row]) -> list[Scored]:
        ask = partial(_score, version, rows)
        if version.lane.is_quick(len(rows)):
            return self.scoring.at_once(version.lane, ask, rows=len(rows))
        return await self.scoring.asked(version.lane, ask, rows=len(rows))

    async def _from_redis(self, version: LoadedVersion, keys: Sequence[bytes]) -> dict[bytes, Scored]:
        if not self._pays(version, len(keys)):
            return {}
        found = await self._shared.find(keys)
        return {key: scored for key, scored in zip(keys, found, strict=True) if scored is not None}

    async def _to_redis(self, version: LoadedVersion, entries: Sequence[tuple[bytes, Scored]]) -> None:
        if entries and self._pays(version, len(entries)):
            await self._shared.keep(entries)

    def _is_quick(self, version: LoadedVersion, *, use_cache: bool) -> bool:
        """What pays to be looked up in Redis is looked up there first."""
        looks_up = use_cache and self._keeps and self._pays(version, 1)
        return not looks_up and version.lane.is_quick(1)

    def _pays(self, version: LoadedVersion, rows: int) -> bool:
        return rows <= MOST_SHARED_ROWS and version.lane.seconds_per_row >= self._shared_from


def _score(version: LoadedVersion, rows: Sequence[Row]) -> list[Scored]:
    return version.predictor.score(version.predictor.encode(rows))
