"""Sends every cell of one row of the table, and says what is not as it should be."""

import asyncio
import json
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any
from uuid import UUID

import httpx2
from sqlalchemy import text

from api_server.database import transaction
from tests.access import traces
from tests.access.asks import SUCCESS, Ask
from tests.access.oracle import Actor, Whose, expected
from tests.access.people import ACTORS, TEAM
from tests.access.sending import Cell, inside_of, request_for
from tests.access.things import find, fresh
from tests.access.world import World

REFUSALS = (401, 403, 404)
A_FEW = {"anonymous", "disabled account", "viewer", "admin", "key to write", "revoked key"}
REPORTED_SECONDS = 4.0
"""ml-service tells of its refusals in batches."""


@dataclass
class Judge:
    """Runs one row. breaches: a sentence for each thing that is not as it should be."""

    world: World
    ask: Ask
    actors: tuple[Actor, ...] = ACTORS
    breaches: list[str] = field(default_factory=list)
    canaries: list[str] = field(default_factory=list)

    async def run(self) -> list[str]:
        cells = list(self._cells())
        self.canaries = await self.world.canaries()
        allowed = [each for each in cells if each.wanted == 200]
        await self._run_refused([each for each in cells if each.wanted != 200])
        await self._run_watched([each for each in allowed if not each.actor.sees_all])
        for each in allowed:
            if each.actor.sees_all:
                await self._send(each)
        self._compare_hidden(cells)
        await self._read_audit_log(cells)
        return self.breaches

    def _cells(self) -> Iterator[Cell]:
        """What asks nobody to sign in does not care whose a thing is, nor much who asks."""
        is_open = not self.ask.need.signed_in
        everybody = [each for each in self.actors if not is_open or self.ask.is_read or each.name in A_FEW]
        for actor in everybody:
            for whose in ((Whose.OWN,) if is_open else Whose) if self.ask.kind else (None,):
                thing = find(self.world, self.ask.kind or "", whose, actor) if whose else None
                wanted = expected(
                    self.ask.need, actor, thing, inside=inside_of(self.world, self.ask, actor, whose)
                )
                yield Cell(actor, whose, wanted, thing=thing)

    async def _run_refused(self, cells: list[Cell]) -> None:
        """Not one row anywhere may change."""
        before = await traces.everything(self.world.sessions)
        for cell in cells:
            await self._send(cell)
        for name in traces.changed(before, await traces.everything(self.world.sessions)):
            self.breaches.append(f"refused requests changed {name}")

    async def _run_watched(self, cells: list[Cell]) -> None:
        """What somebody is allowed to do may not touch the foreign project."""
        before = await traces.rows_naming(self.world.sessions, self.canaries)
        for cell in cells:
            await self._send(cell)
        for name in traces.changed(before, await traces.rows_naming(self.world.sessions, self.canaries)):
            self.breaches.append(f"allowed requests changed foreign rows in {name}")

    async def _send(self, cell: Cell) -> None:
        if self.ask.fresh and cell.wanted == 200 and cell.whose not in (None, Whose.RANDOM):
            assert self.ask.kind
            cell.thing = await fresh(self.world, self.ask.kind, cell.whose, cell.actor)
        request = await request_for(self.world, self.ask, cell)
        cell.answer = await self.world.http.send(request)
        self._judge_status(cell, cell.answer)
        await self._judge_content(cell, cell.answer)
        if self.ask.ends_account and cell.answer.is_success and cell.actor.account:
            await self.world.open_again(cell.actor.account)
        if self.ask.regroups and cell.answer.is_success:
            inside = inside_of(self.world, self.ask, cell.actor, cell.whose) or cell.thing
            await self.world.regroup(inside.place if inside else TEAM)

    def _judge_status(self, cell: Cell, answer: httpx2.Response) -> None:
        got, wanted = answer.status_code, cell.wanted
        allowed = (*SUCCESS, *self.ask.answers)
        if got >= 500 or (got not in allowed if wanted == 200 else got != wanted):
            self.breaches.append(f"{cell} should get {wanted}, got {got}: {answer.text[:200]}")
        if got == 401 and "WWW-Authenticate" not in answer.headers:
            self.breaches.append(f"{cell} got a 401 without WWW-Authenticate")

    async def _judge_content(self, cell: Cell, answer: httpx2.Response) -> None:
        if cell.actor.sees_all or self.ask.tells_all:
            return
        said = f"{answer.text} {dict(answer.headers)}"
        if cell.thing is not None:
            # A problem names the path that was asked.
            said = said.replace(cell.thing.ref, "")
        leaked = [each for each in self.canaries if each in said]
        if leaked:
            self.breaches.append(f"{cell} was told {leaked} of the foreign project")
        if self.ask.rows and answer.status_code == 200:
            await self._judge_total(cell, answer.json())

    async def _judge_total(self, cell: Cell, listed: dict[str, Any]) -> None:
        """Counted anew from the tables and from who is where in this world."""
        actor, projects = cell.actor, await self._projects_of(cell.actor)
        values: dict[str, Any] = {"projects": projects, "user": self.world.user_ids.get(actor.account or "")}
        used = {name: value for name, value in values.items() if f":{name}" in (self.ask.rows or "")}
        async with transaction(self.world.sessions) as session:
            count = await session.scalar(text(self.ask.rows or ""), used)
        if listed["total"] != count:
            self.breaches.append(f"{cell} was told of {listed['total']} rows, and {count} are theirs to see")

    async def _projects_of(self, actor: Actor) -> list[UUID]:
        if actor.bound_to is not None:
            return [self.world.projects[actor.bound_to]]
        query = text("SELECT project_id FROM project_members WHERE user_id = :user")
        async with transaction(self.world.sessions) as session:
            return list(await session.scalars(query, {"user": self.world.user_ids.get(actor.account or "")}))

    def _compare_hidden(self, cells: list[Cell]) -> None:
        """What is foreign looks as what does not exist."""
        for actor in self.actors:
            pair = {each.whose: each for each in cells if each.actor is actor}
            foreign, unknown = pair.get(Whose.FOREIGN), pair.get(Whose.RANDOM)
            if not foreign or not unknown or actor.sees_all or foreign.wanted != unknown.wanted:
                continue
            said = [_without_ids(each.answer) for each in (foreign, unknown) if each.answer]
            if self.ask.need.signed_in and said[0] != said[1]:
                self.breaches.append(f"{actor.name} can tell foreign from unknown: {said[0]} {said[1]}")

    async def _read_audit_log(self, cells: list[Cell]) -> None:
        sent = {each.request_id: each for each in cells if each.answer is not None}
        waits = REPORTED_SECONDS if self.ask.asks_ml else 0.0
        while True:
            found = await traces.entries(self.world.sessions, list(sent))
            wrong = [each for each in map(self._judge_entries, sent.values(), found.values()) if each]
            if not wrong or waits <= 0:
                break
            await asyncio.sleep(0.2)
            waits -= 0.2
        self.breaches += wrong

    def _judge_entries(self, cell: Cell, entries: list[traces.Entry]) -> str | None:
        """A refusal is written down once; a write that succeeded, at least once."""
        assert cell.answer is not None
        got = cell.answer.status_code
        if got in REFUSALS:
            if not self._is_written_down(cell):
                return None
            is_right = [each.outcome for each in entries] == ["refused"] and entries[0].status == got
            return None if is_right else f"{cell} was refused ({got}), and the audit log says {entries}"
        if not self.ask.is_read and self.ask.audited and got in SUCCESS:
            is_right = any(each.outcome == "done" for each in entries)
            return None if is_right else f"{cell} succeeded, and the audit log says {entries}"
        return None

    def _is_written_down(self, cell: Cell) -> bool:
        """Not what asks nobody to sign in, what only our processes may ask, or strangers at ml-service: the demo's."""
        need = self.ask.need
        if need.internal or (self.ask.service == "ml" and cell.actor.account is None):
            return False
        return need.signed_in or need.refuses_bad


def _without_ids(answer: httpx2.Response) -> Any:
    """Status, type and body, but for what names the request itself."""
    body: Any = answer.text
    if answer.headers.get("Content-Type", "").endswith("json"):
        body = json.loads(answer.text)
        if isinstance(body, dict):
            body = {name: each for name, each in body.items() if name not in ("instance", "request_id")}
    return answer.status_code, answer.headers.get("Content-Type"), body
