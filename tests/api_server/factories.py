"""What the api-server's tests are about: accounts, files, workers and replicas, with the facts that matter."""

import itertools
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any
from uuid import UUID

import httpx2
from sqlalchemy import update

from api_server.auth.models import User
from api_server.database import Sessions, transaction
from platform_kit.contract.access import Role
from platform_kit.contract.artifact import DatasetDigest, GoldenRow, Manifest, ManifestRef, Split, Task
from platform_kit.contract.inputs import FieldContract, InputContract
from platform_kit.contract.jobs import (
    Claim,
    Finish,
    Heartbeat,
    HeartbeatReply,
    Outcome,
    ProfileResult,
    Queue,
    TrainResult,
)
from platform_kit.contract.problem import ProblemDetail
from platform_kit.contract.schema import (
    CategoryCount,
    Column,
    ColumnStatistics,
    ColumnType,
    DatasetStatistics,
)
from platform_kit.contract.serving import Proof, ReplicaReport, ServingState

PREFIX = "/api/v1"
PASSWORD = "correct horse battery"
CSV = b"age,city,target\n31,lyon,yes\n25,paris,no\n47,lyon,yes\n"

_numbers = itertools.count(1)


@dataclass(frozen=True)
class SignedIn:
    """An account, and a client that sends its access token."""

    http: httpx2.AsyncClient
    id: UUID
    username: str
    refresh_token: str


async def sign_up(
    anonymous: httpx2.AsyncClient, http: httpx2.AsyncClient, sessions: Sessions, *, role: Role
) -> SignedIn:
    name = f"user{next(_numbers)}"
    body = {"email": f"{name}@example.com", "username": name, "password": PASSWORD}
    registered = await anonymous.post("/auth/register", json=body)
    assert registered.status_code == 201, registered.text
    user = registered.json()
    async with transaction(sessions) as session:
        await session.execute(update(User).where(User.username == name).values(role=role))
    signed_in = await anonymous.post("/auth/token", data={"username": name, "password": PASSWORD})
    assert signed_in.status_code == 200, signed_in.text
    tokens = signed_in.json()
    http.headers["Authorization"] = f"Bearer {tokens['access_token']}"
    return SignedIn(http=http, id=UUID(user["id"]), username=name, refresh_token=tokens["refresh_token"])


async def upload(
    who: SignedIn, *, content: bytes = CSV, name: str = "people.csv", **fields: str
) -> dict[str, Any]:
    answer = await who.http.post(
        "/datasets", data={"name": "people", **fields}, files={"file": (name, content)}
    )
    assert answer.status_code == 201, answer.text
    found: dict[str, Any] = answer.json()
    return found


async def new_model(who: SignedIn, **fields: Any) -> dict[str, Any]:
    body = {
        "name": f"model{next(_numbers)}",
        "model_type": "classification",
        "framework": "lightgbm",
        **fields,
    }
    answer = await who.http.post("/models", json=body)
    assert answer.status_code == 201, answer.text
    found: dict[str, Any] = answer.json()
    return found


async def trained_model(who: SignedIn, worker: "Worker", **fields: Any) -> dict[str, Any]:
    """A model with version 1, of a dataset that a worker has profiled."""
    dataset = await upload(who)
    await worker.profile(dataset["job_id"])
    model = await new_model(who, dataset_id=dataset["id"], **fields)
    await worker.train(model["job_id"])
    found: dict[str, Any] = (await who.http.get(f"/models/{model['id']}")).json()
    return found


class Worker:
    """A worker that knows the results beforehand; what it says to api-server is what a real one says."""

    def __init__(self, internal: httpx2.AsyncClient, name: str = "worker-1") -> None:
        self._internal, self.name = internal, name
        self._claims: dict[UUID, str] = {}

    def named(self, name: str) -> "Worker":
        return Worker(self._internal, name)

    async def ask(self, queue: Queue, *, as_: str | None = None) -> httpx2.Response:
        """Claim whatever has its turn there; each claim has a name of its own unless one is given."""
        name = as_ or f"{self.name}#{next(_numbers)}"
        answer = await self._internal.post(f"/queues/{queue}/claim", json={"worker": name})
        if answer.status_code == 200:
            self._claims[UUID(answer.json()["job_id"])] = name
        return answer

    async def try_claim(self, job_id: str) -> httpx2.Response:
        """Claim in both queues, so that this job is found if it waits; no other may."""
        answer = await self.ask(Queue.DATA)
        if answer.status_code == 204:
            answer = await self.ask(Queue.ML)
        assert answer.status_code == 204 or answer.json()["job_id"] == job_id, answer.text
        return answer

    async def claim(self, job_id: str) -> Claim:
        answer = await self.try_claim(job_id)
        assert answer.status_code == 200, answer.text
        return Claim.model_validate_json(answer.content)

    def called(self, claim: Claim) -> str:
        """The name under which this job was claimed."""
        return self._claims.get(claim.job_id, self.name)

    async def try_beat(self, claim: Claim, **news: Any) -> httpx2.Response:
        beat = Heartbeat(worker=self.called(claim), attempt=claim.attempt, **news)
        return await self._internal.post(f"/jobs/{claim.job_id}/heartbeat", json=beat.model_dump(mode="json"))

    async def beat(self, claim: Claim, **news: Any) -> HeartbeatReply:
        answer = await self.try_beat(claim, **news)
        assert answer.status_code == 200, answer.text
        return HeartbeatReply.model_validate_json(answer.content)

    async def try_finish(self, claim: Claim, outcome: Outcome, **end: Any) -> httpx2.Response:
        body = Finish(worker=self.called(claim), attempt=claim.attempt, outcome=outcome, **end)
        return await self._internal.post(f"/jobs/{claim.job_id}/finish", json=body.model_dump(mode="json"))

    async def finish(self, claim: Claim, outcome: Outcome, **end: Any) -> str:
        answer = await self.try_finish(claim, outcome, **end)
        assert answer.status_code == 200, answer.text
        return str(answer.json()["status"])

    async def claimed_profile(self, job_id: str, attempt: int) -> None:
        """Hand in the profile of a dataset whose job was claimed by `ask`."""
        name = self._claims[UUID(job_id)]
        body = Finish(worker=name, attempt=attempt, outcome=Outcome.SUCCEEDED, result=profile_result())
        answer = await self._internal.post(f"/jobs/{job_id}/finish", json=body.model_dump(mode="json"))
        assert answer.status_code == 200, answer.text

    async def profile(self, job_id: str) -> None:
        claim = await self.claim(job_id)
        await self.finish(claim, Outcome.SUCCEEDED, result=profile_result())

    async def train(self, job_id: str) -> None:
        claim = await self.claim(job_id)
        await self.finish(claim, Outcome.SUCCEEDED, result=train_result())


class FakeReplica:
    """A replica of ml-service that loads nothing and proves what it is told to prove."""

    def __init__(self, internal: httpx2.AsyncClient, name: str = "replica-1") -> None:
        self._internal, self.name = internal, name
        self.applied = -1
        self.state = ServingState(generation=-1, active=[], candidates=[])

    async def sync(self, *proofs: Proof) -> ServingState:
        """Report, and take on what comes back."""
        report = ReplicaReport(replica=self.name, applied_generation=self.applied, proofs=list(proofs))
        answer = await self._internal.post("/serving/sync", json=report.model_dump(mode="json"))
        assert answer.status_code == 200, answer.text
        state = ServingState.model_validate_json(answer.content)
        if state.active is not None:
            self.state = state
        self.applied = state.generation
        return self.state

    async def prove_all(self, *, holds: bool = True, reason: str | None = None) -> ServingState:
        """Judge every candidate, and take on the state that follows."""
        state = await self.sync()
        proofs = [
            Proof(deployment_id=each.deployment_id, holds=holds, reason=reason)
            for each in state.candidates or []
            if each.deployment_id
        ]
        await self.sync(*proofs)
        return await self.sync()


def profile_result() -> ProfileResult:
    """What the profile of CSV is."""
    return ProfileResult(
        columns=[
            Column(name="age", type=ColumnType.INTEGER, nullable=False),
            Column(name="city", type=ColumnType.STRING, nullable=False),
            Column(name="target", type=ColumnType.STRING, nullable=False),
        ],
        statistics=DatasetStatistics(
            row_count=3,
            columns={
                "age": ColumnStatistics(
                    type=ColumnType.INTEGER, count=3, missing=0, distinct=3, minimum=25, maximum=47
                ),
                "city": _categories(lyon=2, paris=1),
                "target": _categories(yes=2, no=1),
            },
        ),
        preview=[{"age": 31, "city": "lyon", "target": "yes"}],
    )


def _categories(**counts: int) -> ColumnStatistics:
    return ColumnStatistics(
        type=ColumnType.STRING,
        count=sum(counts.values()),
        missing=0,
        distinct=len(counts),
        categories=[CategoryCount(value=name, count=count) for name, count in counts.items()],
        categories_complete=True,
    )


def train_result(*, seed: int = 0) -> TrainResult:
    manifest = Manifest(
        created_at=datetime(2026, 1, 1, tzinfo=UTC),
        task=Task.CLASSIFICATION,
        framework="lightgbm",
        algorithm="lightgbm",
        parameters={"n_estimators": 5},
        seed=seed,
        target=Column(name="target", type=ColumnType.STRING, nullable=False),
        classes=["no", "yes"],
        dataset=DatasetDigest(dataset_id=None, version=None, sha256="0" * 64),
        split=Split(method="stratified", test_fraction=0.2, train_rows=2, test_rows=1),
        libraries={"lightgbm": "4.7.0"},
        metrics={"accuracy": 0.9},
        training_seconds=0.1,
        contract=InputContract(fields=[FieldContract(name="age", type=ColumnType.INTEGER, nullable=False)]),
        encoder={},
        files=[],
        golden_rows=[GoldenRow(input={"age": 31}, prediction="yes", probabilities={"no": 0.1, "yes": 0.9})],
        tolerance=1e-12,
    )
    ref = ManifestRef(key="artifacts/00/0", sha256="0" * 64, digest=manifest.digest())
    return TrainResult(manifest=manifest, manifest_ref=ref)


def failure(code: str, detail: str = "It broke.", *, status: int = 500) -> ProblemDetail:
    return ProblemDetail(title="Job failed", status=status, code=code, detail=detail)
