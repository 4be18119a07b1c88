"""Two projects that have nothing to do with each other, everybody who might ask for what is in them, and what that is.

Everything of the foreign project carries a canary in its name, and its ids are known: neither may ever be in an answer
to somebody who is not in it.
"""

import itertools
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any
from uuid import UUID

import httpx2
from sqlalchemy import delete, select, text, update

from api_server.auth.models import User
from api_server.database import Sessions, transaction, utc_now
from api_server.jobs.models import Job
from api_server.projects.models import Project, ProjectMember
from platform_kit.contract.access import Scope
from platform_kit.contract.jobs import Claim, Outcome, TrainResult
from platform_kit.contract.schema import Column, ColumnType
from tests.access.oracle import Whose
from tests.access.people import ACCOUNTS, ACTORS, CANARY, FOREIGN, MAKERS, PLACES
from tests.access.services import Services
from tests.api_server.factories import PASSWORD, PREFIX, Worker, profile_result

_numbers = itertools.count(1)


@dataclass
class World:
    """people: account to who is signed in as it. headers: an actor's credential. things: (kind, whose), and
    belongings: (kind, account), to what names it in a request.
    """

    services: Services
    sessions: Sessions
    manifest: TrainResult
    people: dict[str, httpx2.AsyncClient] = field(default_factory=dict)
    user_ids: dict[str, UUID] = field(default_factory=dict)
    projects: dict[str, UUID] = field(default_factory=dict)
    headers: dict[str, dict[str, str]] = field(default_factory=dict)
    things: dict[tuple[str, Whose], str] = field(default_factory=dict)
    belongings: dict[tuple[str, str], str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.http = httpx2.AsyncClient(timeout=30)
        token = {"X-Internal-Token": self.services.settings.internal_token.get_secret_value()}
        url = f"{self.services.api_url}/internal"
        self._internal = httpx2.AsyncClient(base_url=url, headers=token, timeout=30)
        self.worker = Worker(self._internal)

    async def close(self) -> None:
        for each in (*self.people.values(), self._internal, self.http):
            await each.aclose()

    def username(self, account: str) -> str:
        return CANARY if account == "foreigner" else account

    def name(self, account: str) -> str:
        """A name not used before, for what the account makes."""
        return f"{CANARY if account == 'foreigner' else 'n'}-{next(_numbers)}"

    def dataset_of(self, maker: str) -> str:
        return self.things["dataset", next(each for each, account in MAKERS.items() if account == maker)]

    async def call(self, account: str, method: str, path: str, **request: Any) -> Any:
        answer = await self.people[account].request(method, f"{PREFIX}{path}", **request)
        assert answer.is_success, f"{account}: {method} {path}: {answer.status_code} {answer.text}"
        return answer.json() if answer.content else None

    async def sign_in(self, account: str) -> dict[str, str]:
        url = f"{self.services.api_url}{PREFIX}/auth/token"
        form = {"username": self.username(account), "password": PASSWORD}
        answer = await self.http.post(url, data=form)
        assert answer.status_code == 200, answer.text
        found: dict[str, str] = answer.json()
        return found

    async def open_again(self, account: str) -> None:
        """After a request that ended the session, or the account. Everybody has the same password."""
        mine, other = User.id == self.user_ids[account], User.username == "disabled"
        async with transaction(self.sessions) as session:
            password_hash = await session.scalar(select(User.password_hash).where(other))
            again = {"is_active": True, "password_hash": password_hash}
            await session.execute(update(User).where(mine).values(**again))
        self.hold(account, await self.sign_in(account))

    def hold(self, account: str, tokens: dict[str, str]) -> None:
        bearer = {"Authorization": f"Bearer {tokens['access_token']}"}
        self.people[account].headers.update(bearer)
        for actor in ACTORS:
            if actor.account == account and actor.scopes is None:
                self.headers[actor.name] = bearer

    async def key(self, account: str, scopes: frozenset[Scope], **limits: Any) -> dict[str, Any]:
        body = {"name": self.name(account), "scopes": sorted(scopes), **limits}
        made: dict[str, Any] = await self.call(account, "POST", "/api-keys", json=body)
        return made

    async def dataset(self, account: str, place: str) -> dict[str, Any]:
        word = CANARY if place == FOREIGN else "lyon"
        content = f"age,city,target\n31,{word},yes\n25,{word},no\n{next(_numbers)},{word},yes\n"
        name = self.name(account)
        form = {"name": name, "project_id": str(self.projects[place])}
        made: dict[str, Any] = await self.call(
            account, "POST", "/datasets", data=form, files={"file": (f"{name}.csv", content.encode())}
        )
        return made

    async def idle_model(self, account: str, place: str, **fields: Any) -> dict[str, Any]:
        body = {"name": self.name(account), "model_type": "classification", "framework": "lightgbm"}
        where = {} if fields else {"project_id": str(self.projects[place])}
        made: dict[str, Any] = await self.call(account, "POST", "/models", json={**body, **where, **fields})
        return made

    async def trained_model(self, account: str, place: str, dataset_id: str) -> dict[str, Any]:
        model = await self.idle_model(account, place, dataset_id=dataset_id)
        claim = await self.claim(model["job_id"])
        assert self.manifest
        await self.worker.finish(claim, Outcome.SUCCEEDED, result=self.manifest)
        return model

    async def served_model(self, account: str, place: str, dataset_id: str) -> dict[str, Any]:
        """A model whose version 1 answers predictions."""
        model = await self.trained_model(account, place, dataset_id)
        deployed = await self.call(account, "POST", f"/models/{model['id']}/deploy", json={"version": 1})
        assert deployed["status"] == "deployed", deployed
        return {**model, **deployed}

    async def claim(self, job_id: str) -> Claim:
        """Claim just this one, of all that requests have left waiting: the others wait a moment longer."""
        due = Job.id != UUID(job_id), Job.status == "queued", Job.not_before.is_(None)
        async with transaction(self.sessions) as session:
            later = update(Job).where(*due).values(not_before=utc_now() + timedelta(days=365))
            others = (await session.scalars(later.returning(Job.id))).all()
        claim = await self.worker.claim(job_id)
        async with transaction(self.sessions) as session:
            await session.execute(update(Job).where(Job.id.in_(others)).values(not_before=None))
        return claim

    async def profiled(self, account: str, place: str) -> dict[str, Any]:
        dataset = await self.dataset(account, place)
        name = CANARY if place == FOREIGN else "extra"
        known = profile_result()
        extra = Column(name=name, type=ColumnType.STRING, nullable=False)
        seen = known.model_copy(
            update={
                "columns": [*known.columns, extra],
                "preview": [{**row, name: name} for row in known.preview or []],
            }
        )
        claim = await self.claim(dataset["job_id"])
        await self.worker.finish(claim, Outcome.SUCCEEDED, result=seen)
        return dataset

    async def regroup(self, place: str) -> None:
        """Put everybody back to where they were, after a request that added, moved or removed somebody."""
        project_id, owner_id = self.projects[place], self.user_ids[PLACES[place]]
        async with transaction(self.sessions) as session:
            await session.execute(delete(ProjectMember).where(ProjectMember.project_id == project_id))
            moved = update(Project).where(Project.id == project_id, Project.owner_id != owner_id)
            await session.execute(moved.values(owner_id=owner_id))
            for account, (_, places) in ACCOUNTS.items():
                if place in places:
                    there = {"project_id": project_id, "user_id": self.user_ids[account]}
                    session.add(ProjectMember(**there, role=places[place]))

    async def canaries(self) -> list[str]:
        """The word, and the ids of everything of the foreign project and its owner."""
        ids = {str(self.projects[FOREIGN]), str(self.user_ids["foreigner"])}
        ids |= {self.things[kind, Whose.FOREIGN] for kind in _CANARIES}
        ids |= {ref for (_, account), ref in self.belongings.items() if account == "foreigner"}
        async with transaction(self.sessions) as session:
            for query in _FOREIGN_IDS:
                found = await session.scalars(text(query), {"project": self.projects[FOREIGN]})
                ids |= {str(each) for each in found}
        return [CANARY, *sorted(ids)]


_CANARIES = ("dataset", "job", "model", "idle_model", "deployment", "endpoint")
_FOREIGN_IDS = (
    "SELECT id FROM datasets WHERE project_id = :project",
    "SELECT id FROM models WHERE project_id = :project",
    "SELECT id FROM jobs WHERE project_id = :project",
    "SELECT deployments.id FROM deployments JOIN models ON models.id = model_id WHERE project_id = :project",
)
