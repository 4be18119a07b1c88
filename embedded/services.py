"""The table of our own processes: how each is started, what it waits for, and which settings it may see."""

import os
import socket
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from embedded import probes
from embedded.credentials import Secrets
from embedded.layout import Layout
from embedded.ports import ANY_HOST
from embedded.recipe import Recipe, Tier

WORKER_STOP_SECONDS = 3.5
"""Time to hand a running job back."""
WEB_STOP_SECONDS = 2.5
FLOWER_USER = "admin"
MIGRATE_ONLY = ("DATABASE_OWNER_URL",)
"""Who may change the schema runs once; what goes on running may not."""
API_ONLY = ("DATABASE_URL", "JWT_SECRET")
"""ml-service and its workers have no credential of the database, and cannot make tokens."""
NOT_INHERITED = (
    *MIGRATE_ONLY,
    *API_ONLY,
    # A dozen processes import the same libraries, again at every start: compiled once, that takes half the time.
    "PYTHONDONTWRITEBYTECODE",
)

SERVICES = (
    *("migrate", "prepare-storage", "seed-accounts"),
    *("api-server", "ml-service", "relay", "worker-ml", "worker-data", "worker-general"),
    *("workers-consume", "beat", "flower"),
)


@dataclass(frozen=True)
class Addresses:
    """Where the two services listen."""

    api_host: str
    api_port: int
    ml_host: str
    ml_port: int

    @property
    def api_url(self) -> str:
        return f"http://{_reachable(self.api_host)}:{self.api_port}"

    @property
    def ml_url(self) -> str:
        return f"http://{_reachable(self.ml_host)}:{self.ml_port}"


def settings(
    layout: Layout, secrets: Secrets, ports: Mapping[str, int], addresses: Addresses
) -> dict[str, str]:
    """Every environment variable that our processes read, for this platform."""
    database = f"127.0.0.1:{ports['postgres']}/platform"
    return {
        "ENVIRONMENT": "development",
        "LOG_FORMAT": "json",
        "API_HOST": addresses.api_host,
        "API_PORT": str(addresses.api_port),
        "ML_HOST": addresses.ml_host,
        "ML_PORT": str(addresses.ml_port),
        "API_INTERNAL_URL": addresses.api_url,
        "ML_INTERNAL_URL": addresses.ml_url,
        "PUBLIC_API_URL": addresses.api_url,
        "PUBLIC_ML_URL": addresses.ml_url,
        "DATABASE_URL": f"postgresql+asyncpg://app:{secrets.postgres_app}@{database}",
        "DATABASE_OWNER_URL": f"postgresql+asyncpg://owner:{secrets.postgres_owner}@{database}",
        "PGSSLMODE": "disable",  # else the client looks for keys in the home directory
        "BROKER_URL": f"redis://:{secrets.broker}@127.0.0.1:{ports['redis-broker']}/0",
        "CACHE_URL": f"redis://:{secrets.cache}@127.0.0.1:{ports['redis-cache']}/0",
        "S3_ENDPOINT": f"127.0.0.1:{ports['s3']}",
        "S3_ACCESS_KEY": secrets.s3_access_key,
        "S3_SECRET_KEY": secrets.s3_secret_key,
        "S3_BUCKET": "mlp",
        "S3_REGION": "us-east-1",
        "S3_SECURE": "false",
        "INTERNAL_TOKEN": secrets.internal_token,
        "JWT_SECRET": secrets.jwt,
        "PLATFORM_DATA_DIR": str(layout.root),
        "ML_CACHE_DIR": str(layout.root / "ml-cache"),
        "WORKER_SCRATCH_DIR": str(layout.root / "scratch"),
    }


def inherited() -> dict[str, str]:
    """Our own environment for the children, made fit for programs that talk to this machine."""
    kept = {
        name: value
        for name, value in os.environ.items()
        if name not in NOT_INHERITED and not name.startswith(("MAKE", "MFLAGS", "PG"))
    }
    local = ",".join(
        filter(None, (os.environ.get("NO_PROXY") or os.environ.get("no_proxy"), "127.0.0.1,localhost"))
    )
    return {
        **kept,
        "NO_PROXY": local,
        "no_proxy": local,
        "PYTHONUNBUFFERED": "1",
        # Threads otherwise get an arena each, and memory that is freed in one is not used by the others.
        "MALLOC_ARENA_MAX": "2",
    }


def services(
    layout: Layout, secrets: Secrets, ports: Mapping[str, int], addresses: Addresses
) -> list[Recipe]:
    everything = settings(layout, secrets, ports, addresses)
    api = _without(MIGRATE_ONLY, everything)
    ml = _without(API_ONLY, api)
    flower = {**api, "FLOWER_BASIC_AUTH": f"{FLOWER_USER}:{secrets.flower}"}
    return [
        Recipe(
            name="migrate",
            command=_python("api_server.cli", "migrate"),
            environment=everything,
            needs=("postgres",),
            once=True,
        ),
        *_one_shots(api, credentials=layout.credentials),
        *_web(api, ml, addresses),
        *_workers(api, ml),
        *_watchers(api, flower, schedule=layout.run / "celerybeat-schedule", flower_port=ports["flower"]),
    ]


def _without(names: tuple[str, ...], environment: Mapping[str, str]) -> dict[str, str]:
    return {name: value for name, value in environment.items() if name not in names}


def _one_shots(api: Mapping[str, str], *, credentials: Path) -> list[Recipe]:
    seed = _python("api_server.cli", "seed-accounts", "--file", str(credentials))
    storage = _python("api_server.cli", "prepare-storage")
    return [
        Recipe(name="prepare-storage", command=storage, environment=api, needs=("s3",), once=True),
        Recipe(name="seed-accounts", command=seed, environment=api, needs=("migrate",), once=True),
    ]


def _web(api: Mapping[str, str], ml: Mapping[str, str], addresses: Addresses) -> list[Recipe]:
    return [
        Recipe(
            name="api-server",
            command=_python("api_server.main"),
            environment=api,
            needs=("migrate", "prepare-storage", "redis-broker", "redis-cache"),
            ready=probes.http_answers(addresses.api_port, "/health/ready"),
            tier=Tier.WEB,
            stop_seconds=WEB_STOP_SECONDS,
        ),
        Recipe(
            name="ml-service",
            command=_python("ml_service.main"),
            environment=ml,
            ready=probes.http_answers(addresses.ml_port, "/health/ready"),
            tier=Tier.WEB,
            stop_seconds=WEB_STOP_SECONDS,
        ),
        Recipe(
            name="relay",
            command=_python("api_server.relay"),
            environment=api,
            needs=("migrate", "redis-broker"),
        ),
    ]


def _workers(api: Mapping[str, str], ml: Mapping[str, str]) -> list[Recipe]:
    recipes = [
        _worker(
            "ml",
            app="ml_service.worker",
            environment=ml,
            threads=os.environ.get("WORKER_CONCURRENCY_ML", "1"),
        ),
        _worker("data", app="ml_service.worker", environment=ml),
        _worker("general", app="api_server.worker", environment=api, needs=("migrate",)),
    ]
    nodes = [f"{queue}@{socket.gethostname()}={queue}" for queue in ("ml", "data", "general")]
    proof = Recipe(
        name="workers-consume",
        command=_python("embedded.consuming", *nodes),
        environment=ml,
        needs=tuple(recipe.name for recipe in recipes),
        once=True,
    )
    return [*recipes, proof]


def _worker(
    queue: str, *, app: str, environment: Mapping[str, str], threads: str = "1", needs: tuple[str, ...] = ()
) -> Recipe:
    return Recipe(
        name=f"worker-{queue}",
        command=_python(
            *(
                "celery",
                "-q",
                "-A",
                app,
                "worker",
                "-Q",
                queue,
                "-n",
                f"{queue}@%h",
                "-P",
                "threads",
                "-c",
                threads,
                # Neighbours are asked for what only Postgres knows.
                "--without-mingle",
                "--without-gossip",
            )
        ),
        environment={**environment, "PYTHONWARNINGS": "ignore:You're running the worker with superuser"},
        needs=("redis-broker", *needs),
        stop_seconds=WORKER_STOP_SECONDS,
    )


def _watchers(
    api: Mapping[str, str], flower: Mapping[str, str], *, schedule: Path, flower_port: int
) -> list[Recipe]:
    """They start last: nobody waits for them."""
    celery = ("celery", "-q", "-A", "api_server.worker")
    needs = ("api-server", "ml-service", "workers-consume")
    return [
        Recipe(
            name="beat",
            command=_python(*celery, "beat", "-s", str(schedule)),
            environment=api,
            needs=needs,
            awaited=False,
        ),
        Recipe(
            name="flower",
            command=_python(
                *celery, "flower", "--address=127.0.0.1", f"--port={flower_port}", "--persistent=False"
            ),
            environment=flower,
            needs=needs,
            ready=probes.http_answers(flower_port, "/healthcheck"),
            shows=lambda line: line.startswith(("[W", "[E", "[C", "Traceback")),
            awaited=False,
        ),
    ]


def _python(module: str, *arguments: str) -> tuple[str, ...]:
    return (sys.executable, "-m", module, *arguments)


def _reachable(host: str) -> str:
    return "127.0.0.1" if host in ANY_HOST else host
