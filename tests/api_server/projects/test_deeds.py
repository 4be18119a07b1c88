"""Every write in a project leaves one entry in the audit log, and so does what the platform does by itself."""

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import Any

import httpx2
import pytest

from api_server.audit_trail import AuditEntry
from api_server.database import Sessions
from platform_kit.contract.access import Role
from platform_kit.contract.jobs import Outcome
from tests.api_server.conftest import SignIn
from tests.api_server.factories import CSV, FakeReplica, SignedIn, Worker, failure, new_model, upload
from tests.api_server.projects.crew import add, new_project, written

FILE = {"file": ("a.csv", CSV + b"1,x,no\n")}


@dataclass
class Stage:
    """A project with a dataset, a member, and a model of which version 1 is deployed and version 2 waits."""

    owner: SignedIn
    member: SignedIn
    admin: SignedIn
    worker: Worker
    replica: FakeReplica
    ids: dict[str, str] = field(default_factory=dict)

    async def set(self) -> None:
        self.ids["project"] = await new_project(self.owner)
        await add(self.owner, self.ids["project"], self.member, "editor")
        dataset = await upload(self.owner, project_id=self.ids["project"])
        await self.worker.profile(dataset["job_id"])
        self.ids |= {"dataset": dataset["id"], "version": dataset["job_id"]}
        model = await new_model(self.owner, dataset_id=dataset["id"])
        self.ids |= {"model": model["id"], "endpoint": model["endpoint"]}
        await self.worker.train(model["job_id"])
        await self.deploy()

    async def train(self) -> str:
        answer = await self.owner.http.post(f"/models/{self.ids['model']}/train", json={})
        return str(answer.json()["id"])

    async def train_again(self) -> None:
        await self.worker.train(await self.train())

    async def deploy(self) -> None:
        await self.replica.sync()
        asked = asyncio.create_task(self.owner.http.post(f"/models/{self.ids['model']}/deploy"))
        while not asked.done():
            await self.replica.prove_all()
            await asyncio.sleep(0.02)

    async def retire(self) -> None:
        await self.owner.http.delete(f"/endpoints/{self.ids['endpoint']}")


@pytest.fixture
async def stage(
    maker: SignedIn, other: SignedIn, sign_in: SignIn, worker: Worker, replica: FakeReplica
) -> Stage:
    made = Stage(maker, other, await sign_in(Role.ADMIN), worker, replica)
    await made.set()
    return made


Step = Callable[[Stage], Awaitable[Any]]


@dataclass(frozen=True)
class Write:
    """One write: who makes it, what comes before it, and what is then written down."""

    verb: str
    url: str
    action: str
    object_type: str
    sent: dict[str, Any] = field(default_factory=dict)
    by: str = "owner"
    before: tuple[Step, ...] = ()


def _cancelled(stage: Stage) -> Awaitable[Any]:
    async def start() -> None:
        stage.ids["job"] = await stage.train()

    return start()


def _emptied(stage: Stage) -> Awaitable[Any]:
    async def empty() -> None:
        stage.ids["project"] = await new_project(stage.owner, "empty")

    return empty()


def _unused(stage: Stage) -> Awaitable[Any]:
    async def unused() -> None:
        stage.ids["dataset"] = (await upload(stage.owner, project_id=stage.ids["project"]))["id"]

    return unused()


MODEL = {"name": "m", "model_type": "classification", "framework": "lightgbm"}
WRITES = [
    Write("POST", "/projects", "project:create", "project", {"json": {"name": "p"}}),
    Write("PATCH", "/projects/{project}", "project:change", "project", {"json": {"status": "archived"}}),
    Write("DELETE", "/projects/{project}", "project:delete", "project", before=(_emptied,)),
    Write(
        "POST", "/projects/{project}/members", "project:share", "member", {"json": {"username": "{admin}"}}
    ),
    Write(
        "PATCH",
        "/projects/{project}/members/{member}",
        "project:share",
        "member",
        {"json": {"role": "owner"}},
    ),
    Write("DELETE", "/projects/{project}/members/{member}", "project:share", "member"),
    Write("POST", "/projects/{project}/leave", "project:leave", "member", by="member"),
    Write(
        "POST", "/projects/{project}/transfer", "project:share", "project", {"json": {"user_id": "{member}"}}
    ),
    Write("PUT", "/projects/{project}/quotas", "project:set_quota", "project", {"json": {}}, by="admin"),
    Write(
        "POST",
        "/datasets",
        "dataset:create",
        "dataset",
        {"data": {"name": "d", "project_id": "{project}"}, "files": FILE},
    ),
    Write("POST", "/datasets/{dataset}/versions", "dataset:create", "dataset", {"files": FILE}),
    Write("PATCH", "/datasets/{dataset}", "dataset:change", "dataset", {"json": {"name": "x"}}),
    Write("DELETE", "/datasets/{dataset}", "dataset:delete", "dataset", before=(_unused,)),
    Write("POST", "/models", "model:create", "model", {"json": {**MODEL, "project_id": "{project}"}}),
    Write("POST", "/models", "model:create", "model", {"json": {**MODEL, "dataset_id": "{dataset}"}}),
    Write("POST", "/models/{model}/train", "model:train", "model", {"json": {}}),
    Write("PATCH", "/models/{model}", "model:change", "model", {"json": {"description": "x"}}),
    Write("DELETE", "/models/{model}", "model:delete", "model", before=(Stage.retire,)),
    Write("POST", "/jobs/{job}/cancel", "job:cancel", "job", before=(_cancelled,)),
    Write("POST", "/models/{model}/deploy", "deployment:deploy", "deployment", before=(Stage.train_again,)),
    Write(
        "POST",
        "/endpoints/{endpoint}/rollback",
        "deployment:roll_back",
        "deployment",
        before=(Stage.train_again, Stage.deploy),
    ),
    Write("DELETE", "/endpoints/{endpoint}", "deployment:retire", "deployment"),
]


def filled(value: Any, ids: dict[str, str]) -> Any:
    match value:
        case str():
            return value.format(**ids) if "{" in value else value
        case dict():
            return {name: filled(each, ids) for name, each in value.items()}
        case _:
            return value


async def make(stage: Stage, write: Write, **headers: str) -> httpx2.Response:
    people = {"member": str(stage.member.id), "admin": stage.admin.username}
    who: SignedIn = getattr(stage, write.by)
    ids = stage.ids | people
    return await who.http.request(
        write.verb, write.url.format(**ids), headers=headers, **filled(write.sent, ids)
    )


async def entries_of(sessions: Sessions, answer: httpx2.Response) -> list[AuditEntry]:
    return list(await written(sessions, request_id=answer.headers["X-Request-ID"]))


class TestWrite:
    @pytest.mark.parametrize("write", WRITES, ids=lambda each: f"{each.verb} {each.url}")
    async def test_is_written_down_once(self, stage: Stage, sessions: Sessions, write: Write) -> None:
        for step in write.before:
            await step(stage)

        answer = await make(stage, write)

        assert answer.status_code < 300, answer.text
        (entry,) = await entries_of(sessions, answer)
        who: SignedIn = getattr(stage, write.by)
        assert (entry.action, entry.object_type, entry.outcome) == (write.action, write.object_type, "done")
        assert (entry.user_id, entry.username) == (who.id, who.username)
        assert entry.object_id is not None
        if write.url != "/projects":
            assert str(entry.project_id) == stage.ids["project"]

    @pytest.mark.parametrize(
        "write", [each for each in WRITES if each.url in ("/projects", "/datasets", "/models")][:3]
    )
    async def test_repeated_with_a_key_is_not_written_down_again(
        self, stage: Stage, sessions: Sessions, write: Write
    ) -> None:
        first, again = [await make(stage, write, **{"Idempotency-Key": "k"}) for _ in range(2)]

        assert (len(await entries_of(sessions, first)), await entries_of(sessions, again)) == (1, [])

    async def test_that_changes_nothing_is_not_written_down(self, stage: Stage, sessions: Sessions) -> None:
        http, ids = stage.owner.http, stage.ids
        answers = [
            await http.patch(f"/projects/{ids['project']}", json={}),
            await http.patch(
                f"/projects/{ids['project']}/members/{stage.member.id}", json={"role": "editor"}
            ),
            await http.post(f"/datasets/{ids['dataset']}/versions", files={"file": ("a.csv", CSV)}),
            await http.post(f"/models/{ids['model']}/deploy"),
        ]

        assert {each.status_code for each in answers} == {200}
        assert [await entries_of(sessions, each) for each in answers] == [[]] * 4

    async def test_that_fails_is_not_written_down_as_done(self, stage: Stage, sessions: Sessions) -> None:
        http = stage.owner.http
        taken = await http.post("/projects", json={"name": "churn"})
        used = await http.delete(f"/projects/{stage.ids['project']}")

        assert [each.status_code for each in (taken, used)] == [409, 409]
        assert [await entries_of(sessions, each) for each in (taken, used)] == [[], []]

    async def test_into_a_personal_project_tells_also_where_that_came_from(
        self, other: SignedIn, sessions: Sessions
    ) -> None:
        dataset = await upload(other)

        found = await written(sessions, object_id=dataset["project_id"])

        assert [(each.action, each.username, each.details["owner"]) for each in found] == [
            ("project:create", "system", other.username)
        ]


class TestPlatform:
    async def test_tells_what_came_of_files(
        self, maker: SignedIn, worker: Worker, sessions: Sessions
    ) -> None:
        rejected, failed = [await upload(maker) for _ in range(2)]
        error = failure("ragged_row", "Line 2 holds 'a secret'.", status=422)
        await worker.finish(await worker.claim(rejected["job_id"]), Outcome.FAILED, error=error)
        await maker.http.post(f"/jobs/{failed['job_id']}/cancel")

        found = await written(sessions, username="system", object_type="dataset")

        assert [(each.action, each.object_id, each.details) for each in found] == [
            ("dataset:rejected", rejected["id"], {"name": "people", "version": 1, "code": "ragged_row"}),
            ("dataset:failed", failed["id"], {"name": "people", "version": 1, "code": "cancelled"}),
        ]
        assert {str(each.project_id) for each in found} == {rejected["project_id"]}

    async def test_tells_that_a_job_failed_and_not_with_which_values(
        self, stage: Stage, worker: Worker, sessions: Sessions
    ) -> None:
        job_id = await stage.train()
        error = failure("fit_failed", "Row 3 holds 'a secret'.", status=422)
        await worker.finish(await worker.claim(job_id), Outcome.FAILED, error=error)

        (entry,) = await written(sessions, action="job:failed")

        assert (entry.object_id, entry.details) == (job_id, {"kind": "train", "code": "fit_failed"})
        assert str(entry.project_id) == stage.ids["project"]

    async def test_tells_that_a_deployment_failed(
        self, stage: Stage, replica: FakeReplica, sessions: Sessions
    ) -> None:
        await stage.train_again()
        await stage.owner.http.post(f"/models/{stage.ids['model']}/deploy")
        await replica.prove_all(holds=False, reason="golden row 0: 'a secret'")

        (entry,) = await written(sessions, action="deployment:failed")

        assert (entry.object_type, entry.details) == (
            "deployment",
            {"endpoint": stage.ids["endpoint"], "version": 2},
        )

    async def test_tells_that_a_deployment_waited_in_vain(
        self, stage: Stage, replica: FakeReplica, sessions: Sessions
    ) -> None:
        job_id = await stage.train()
        await stage.owner.http.post(f"/models/{stage.ids['model']}/deploy")
        await stage.owner.http.post(f"/jobs/{job_id}/cancel")
        await replica.sync()

        (entry,) = await written(sessions, action="deployment:failed")

        assert entry.details == {"endpoint": stage.ids["endpoint"], "version": None}

    async def test_can_be_asked_for_by_administrators(self, stage: Stage) -> None:
        found = (await stage.admin.http.get("/audit", params={"action": "model:version_registered"})).json()

        assert [each["object_id"] for each in found["items"]] == [stage.ids["model"]]
