"""The platform in parts, and a person who uses it; a look at what Postgres and storage hold in the end."""

import asyncio
import secrets
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from itertools import count
from typing import Any

import asyncpg
from minio import Minio

from platform_kit.plumbing.object_store import ObjectStore
from tests.faults.processes import Processes
from tests.faults.workshop import Workshop, wait_until
from tests.verify.calling import Caller
from tests.verify.loop import FLIGHTS, Json, as_csv, body_of, finished_job, upload
from tests.verify.scene import Scene

PATIENCE_SECONDS = 30.0
"""Of the client: an api-server that was killed is back long before."""
SMALL = {"n_estimators": 3}
LONG: Mapping[str, Any] = {"n_estimators": 1500, "learning_rate": 0.01}
"""On the flights it fits for more than a second, and half a dozen heartbeats tell of that."""


@dataclass(frozen=True)
class Rows:
    """A data set that was uploaded, with the column to learn."""

    id: str
    target: str


@dataclass
class Plant(Processes):
    jobs: list[str] = field(default_factory=list)
    """Every job that the API has accepted."""
    sound_versions: set[Any] = field(default_factory=set)
    """Whose files were looked at."""

    def __post_init__(self) -> None:
        super().__post_init__()
        self._numbers = count(1)

    @cached_property
    def store(self) -> ObjectStore:
        known = self.environment
        client = Minio(
            known["S3_ENDPOINT"],
            access_key=known["S3_ACCESS_KEY"],
            secret_key=known["S3_SECRET_KEY"],
            region=known["S3_REGION"],
            secure=False,
        )
        return ObjectStore(client, known["S3_BUCKET"])

    def rows(self, statement: str, *arguments: Any) -> list[asyncpg.Record]:
        """What Postgres holds, read as the owner of the schema."""
        return asyncio.run(self._ask(statement, arguments))

    def value(self, statement: str, *arguments: Any) -> Any:
        return self.rows(statement, *arguments)[0][0]

    async def _ask(self, statement: str, arguments: tuple[Any, ...]) -> list[asyncpg.Record]:
        connection = await asyncpg.connect(
            host="127.0.0.1",
            port=self._ports["postgres"],
            user="postgres",
            password=self._secrets.postgres_admin,
            database="platform",
            timeout=5,
        )
        try:
            return list(await connection.fetch(statement, *arguments))
        finally:
            await connection.close()

    @cached_property
    def _scene(self) -> Scene:
        scene = Scene(self.url, "http://127.0.0.1:9", self.folder, patience_seconds=PATIENCE_SECONDS)
        return self._open.enter_context(scene)

    @cached_property
    def maker(self) -> Caller:
        return self._scene.newcomer()

    @cached_property
    def impatient(self) -> Caller:
        """The same person with a client that tries nothing twice."""
        caller = self._scene.anybody()
        caller.patience_seconds, caller.tokens = 0, self.maker.tokens
        return caller

    @cached_property
    def few(self) -> Rows:
        """A small data set: what is trained on it takes as long as the libraries take to load."""
        return self._uploaded(small_table(0), target="target")

    @cached_property
    def flights(self) -> Rows:
        return self._uploaded(FLIGHTS.read_bytes(), target="arrival")

    def _uploaded(self, content: bytes, *, target: str) -> Rows:
        dataset = upload(self.maker, content, name=self.new_name("rows"))
        assert dataset["status"] == "ready", dataset
        return Rows(dataset["id"], target)

    def new_name(self, kind: str) -> str:
        return f"{kind} {next(self._numbers)}"

    def train(self, rows: Rows | None = None, *, caller: Caller | None = None, **parameters: Any) -> str:
        """Have a new model trained; returns the job's id."""
        rows = rows or self.few
        body = {
            "name": self.new_name("model"),
            "model_type": "classification",
            "framework": "lightgbm",
            "dataset_id": rows.id,
            "target": rows.target,
            "parameters": {**SMALL, "seed": next(self._numbers), **parameters},
        }
        headers = {"Idempotency-Key": secrets.token_hex(8)}
        answer = (caller or self.maker).api("POST", "/models", json=body, headers=headers)
        return self.accepted(body_of(answer)["job_id"])

    def train_long(self) -> str:
        return self.train(self.flights, **LONG)

    def profile(self, *, caller: Caller | None = None) -> str:
        """Have a new data set looked at; returns the data set's id."""
        number = next(self._numbers)
        form = {
            "data": {"name": f"rows {number}"},
            "files": {"file": ("rows.csv", small_table(number))},
            "headers": {"Idempotency-Key": secrets.token_hex(8)},
        }
        found: str = body_of((caller or self.maker).api("POST", "/datasets", **form))["id"]
        return found

    def job_of(self, dataset_id: str) -> str:
        """The job that looks at a data set."""
        found = self.value("SELECT id::text FROM jobs WHERE dataset_id = $1::uuid", dataset_id)
        return self.accepted(found)

    def accepted(self, job_id: str) -> str:
        self.jobs.append(job_id)
        return job_id

    def job(self, job_id: str) -> Json:
        found: Json = body_of(self.maker.api("GET", f"/jobs/{job_id}"))
        return found

    def finished(self, job_id: str, *, seconds: float = 60) -> Json:
        return finished_job(self.maker, job_id, patience_seconds=seconds)

    def attempts(self, job_id: str) -> list[asyncpg.Record]:
        return self.rows("SELECT * FROM job_attempts WHERE job_id = $1::uuid ORDER BY number", job_id)

    def story(self, job_id: str) -> str:
        """What happened to a job, for a test that failed."""
        events = self.rows(
            "SELECT created_at, attempt, type, body FROM job_events WHERE job_id = $1::uuid ORDER BY id",
            job_id,
        )
        lines = [dict(each) for each in [*self.attempts(job_id), *events] if each.get("type") != "progress"]
        return "\n".join(map(str, lines))

    def worker_of(self, job_id: str) -> Workshop:
        """The workshop that has claimed the job; waits until one has."""
        wait_until(lambda: self._having(job_id), f"job {job_id} is claimed")
        return self._having(job_id)[0]

    def _having(self, job_id: str) -> list[Workshop]:
        return [each for each in self.workshops if each.job_id == job_id]


def small_table(number: int) -> bytes:
    """Different content for each number: equal files are one data set."""
    rows: Iterator[tuple[int, int, str]] = (
        (each + number, each * 7 % 13, "yes" if each % 3 else "no") for each in range(60)
    )
    return as_csv(("a", "b", "target"), rows)
