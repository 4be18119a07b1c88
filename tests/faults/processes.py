"""The platform's own processes, one by one in the hands of a test: killed, frozen, cut off, and started again."""

import os
import socket
import sys
from collections.abc import Mapping
from contextlib import ExitStack
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Self

from embedded import servers, services
from embedded.credentials import Secrets
from embedded.layout import Layout
from embedded.ports import chosen
from embedded.recipe import Recipe
from embedded.services import Addresses
from tests.faults.program import Keeper, Program
from tests.faults.workshop import Workshop

NO_LIMITS = {
    "ACCESS_TOKEN_SECONDS": "86400",
    **dict.fromkeys(("RATE_LIMIT_ADDRESS", "RATE_LIMIT_PRINCIPAL"), "10000000/minute"),
    "REGISTRATION_LIMIT": "10000000/minute",
}
PRODUCTION = {**NO_LIMITS, "TRAINING_THREADS": "1", "HOUSEKEEPING_INTERVAL_SECONDS": "20"}
QUICK = {
    **PRODUCTION,
    "JOB_LEASE_SECONDS": "3",
    "JOB_HEARTBEAT_SECONDS": "0.5",
    "JOB_RERING_SECONDS": "1",
    "REAPER_INTERVAL_SECONDS": "0.5",
    "RELAY_POLL_SECONDS": "0.1",
    "CLAIM_PATIENCE_SECONDS": "2",
    "STORAGE_PATIENCE_SECONDS": "1.5",
    "KILL_GRACE_SECONDS": "0.5",
    "HOUSEKEEPING_INTERVAL_SECONDS": "10",
}
"""Ten times faster than by default, and more: a lost worker is noticed within seconds."""
SERVERS = ("postgres", "redis-broker", "redis-cache", "s3")


@dataclass
class Processes:
    """settings: of all processes of ours, instead of the defaults. workers: so many start at once."""

    folder: Path
    settings: Mapping[str, str] = field(default_factory=lambda: QUICK)
    workers: int = 2

    def __post_init__(self) -> None:
        self._open = ExitStack()
        self.programs: dict[str, Program] = {}
        self.workshops: list[Workshop] = []
        self._layout = Layout(self.folder / "data")
        self._layout.prepare()
        self._secrets = Secrets.of(self._layout.secrets)
        self._ports = self._open.enter_context(chosen(self._layout.run / "ports.json"))
        self._addresses = Addresses("127.0.0.1", self._ports["api"], "127.0.0.1", self._ports["ml"])

    def __enter__(self) -> Self:
        self._keeper = Keeper()
        self._open.callback(self._keeper.close)
        try:
            self._start()
        except BaseException:
            self.close()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        self._open.close()

    def __getitem__(self, name: str) -> Program:
        return self.programs[name]

    @property
    def broker(self) -> Program:
        return self.programs["redis-broker"]

    @property
    def api(self) -> Program:
        return self.programs["api-server"]

    def _start(self) -> None:
        recipes = servers.servers(self._layout, self._secrets, self._ports)
        self.start_all([self.add(recipe) for recipe in recipes])
        self._prepare()
        self.add(self._known("api-server"))
        self.add(self._known("relay"), says="relay.ready")
        for _ in range(self.workers):
            self.add_worker()
        self._standing = list(self.programs.values())
        self.start_all(self._standing)

    def add(self, recipe: Recipe, *, says: str = "") -> Program:
        environment = (
            {**recipe.environment, **self.settings} if recipe.name not in SERVERS else recipe.environment
        )
        known = replace(recipe, environment=environment)
        program = Program(known, folder=self.folder, base=services.inherited(), says=says)
        self.programs[recipe.name] = program
        self._keeper.programs.append(program)
        return program

    def start_all(self, programs: list[Program]) -> None:
        """At once: each takes its time to import."""
        for program in programs:
            program.want()
        for program in programs:
            program.await_ready()

    def add_worker(self) -> Workshop:
        """Another worker for trainings and profiles; to be started."""
        name = f"worker-{len(self.workshops) + 1}"
        workshop = Workshop(api_port=self._ports["api"], store_port=self._ports["s3"])
        self._open.callback(workshop.close)
        recipe = self._known("worker-ml")
        command = _celery("ml_service.worker", "ml,data", name)
        environment = {
            **recipe.environment,
            "API_INTERNAL_URL": f"http://127.0.0.1:{workshop.api_line.port}",
            "S3_ENDPOINT": f"127.0.0.1:{workshop.store_line.port}",
            "WORKER_SCRATCH_DIR": str(self.folder / "scratch" / name),
        }
        recipe = replace(recipe, name=name, command=command, environment=environment)
        workshop.program = self.add(recipe, says="worker.ready")
        self.workshops.append(workshop)
        return workshop

    def add_relay(self) -> Program:
        name = f"relay-{sum(each.startswith('relay') for each in self.programs) + 1}"
        return self.add(replace(self._known("relay"), name=name), says="relay.ready")

    def start_housekeeping(self) -> list[str]:
        """beat, and the worker that does what it asks for; returns their names."""
        names = {"beat": "beat: Starting", "worker-general": "ready."}
        self.start_all([self.add(self._known(name), says=says) for name, says in names.items()])
        return list(names)

    def _known(self, name: str) -> Recipe:
        recipes = services.services(self._layout, self._secrets, self._ports, self._addresses)
        return next(recipe for recipe in recipes if recipe.name == name)

    def _prepare(self) -> None:
        for name in ("migrate", "prepare-storage"):
            program = self.add(self._known(name))
            program.run_once()
            del self.programs[name]

    def mend(self) -> None:
        """Undo what a test did to it."""
        for workshop in self.workshops:
            workshop.mend()
        for program in self.programs.values():
            program.thaw()
        self.start_all(self._standing)

    @property
    def url(self) -> str:
        return self._addresses.api_url

    @property
    def environment(self) -> dict[str, str]:
        return services.settings(self._layout, self._secrets, self._ports, self._addresses)

    def report(self) -> str:
        """The ends of the logs, for a test that failed."""
        return "\n".join(program.tail() for program in self.programs.values())

    def faults(self) -> list[str]:
        """Requests that ended in an error nobody had thought of (500)."""
        return [line for line in self.api.log.read_text().splitlines() if '"request.failed"' in line]


def _celery(app: str, queues: str, name: str) -> tuple[str, ...]:
    options = ("-Q", queues, "-n", f"{name}@{socket.gethostname()}-{os.getpid()}", "-P", "threads", "-c", "1")
    return (
        sys.executable,
        "-m",
        "celery",
        "-q",
        "-A",
        app,
        "worker",
        *options,
        "--without-mingle",
        "--without-gossip",
    )
