"""A PostgreSQL cluster in a directory: made once, owned by whoever the server runs as, free of stale locks."""

import os
import pwd
import shutil
import signal
import subprocess
import tempfile
from dataclasses import dataclass
from pathlib import Path

from embedded.errors import StartFailed
from embedded.launch import NOBODY_ID, launched
from embedded.orphans import ended_within
from embedded.recipe import Identity

PROBE_SECONDS = 10
INITDB_SECONDS = 120
STOP_SECONDS = 10
OWNER_MARK = "platform-owner"
"""A file among those of Postgres, which leaves it alone: looking at the roles would need a server."""
TUNING = (
    "shared_buffers=32MB",
    "max_connections=100",
    "max_wal_size=256MB",
    "jit=off",
    "io_method=sync",
    "unix_socket_directories=",
    "log_min_messages=warning",
    "log_line_prefix=%m [%p] ",
)


def identity_for(postgres: Path, directory: Path) -> Identity:
    """Postgres refuses root, and users without a name: find out as whom it can run here."""
    if os.getuid() != 0 and has_name(os.getuid()):
        return Identity.SELF
    reasons = []
    for identity in (Identity.NAMESPACE, Identity.NOBODY):
        trial = _run_as(
            identity, [str(postgres), "--version"], directory=directory.parent, seconds=PROBE_SECONDS
        )
        if trial.returncode == 0:
            return identity
        reasons.append(f"  as {identity}: {trial.stderr.strip().splitlines()[-1:] or trial.returncode}")
    raise StartFailed(
        "PostgreSQL runs neither as root nor as a user who is not in /etc/passwd, and no other can be used here:\n"
        + "\n".join(reasons)
        + "\nStart the platform as a normal user, or from a directory that all may enter (not under /root)."
    )


def has_name(uid: int) -> bool:
    try:
        pwd.getpwuid(uid)
    except KeyError:
        return False
    return True


@dataclass(frozen=True)
class Cluster:
    """`admin`, `owner` and `app` are passwords: of the superuser `postgres`, of `owner`, and of `app`.

    `owner` owns our database and the tables; `app`, as which our services work, owns nothing.
    """

    directory: Path
    binaries: Path
    identity: Identity
    admin: str
    owner: str
    app: str

    def options(self, port: int) -> tuple[str, ...]:
        settings = [argument for each in TUNING for argument in ("-c", each)]
        return ("-D", str(self.directory), "-h", "127.0.0.1", "-p", str(port), *settings)

    def prepare(self) -> None:
        """Called before each start, while no server of ours runs on the directory."""
        if not (self.directory / "PG_VERSION").exists():
            self._make()
        self._own(self.directory)
        self._clear_lock()
        if not (self.directory / OWNER_MARK).exists():
            self._hand_over()

    def _make(self) -> None:
        fresh = self.directory.with_name("postgres.new")
        shutil.rmtree(fresh, ignore_errors=True)
        fresh.mkdir(mode=0o700)
        self._own(fresh)
        self._initdb(fresh)
        self._make_database(fresh)
        fresh.replace(self.directory)

    def _initdb(self, fresh: Path) -> None:
        with tempfile.NamedTemporaryFile("w", dir=self.directory.parent) as passwords:
            passwords.write(self.admin)
            passwords.flush()
            self._own(Path(passwords.name))
            self._tool(
                "initdb",
                *("-D", str(fresh), "-U", "postgres", "--auth=scram-sha-256", f"--pwfile={passwords.name}"),
                *("--encoding=UTF8", "--locale=C.UTF-8", "--no-sync"),
            )

    def _make_database(self, fresh: Path) -> None:
        statements = (
            f"CREATE ROLE owner LOGIN PASSWORD '{self.owner}'",
            f"CREATE ROLE app LOGIN PASSWORD '{self.app}'",
            "CREATE DATABASE platform OWNER owner",
        )
        self._alone(fresh, "postgres", *statements)
        self._mark(fresh)

    def _hand_over(self) -> None:
        """A directory from before there was `owner`: `app` owns all. Done again if it was broken off."""
        missing = "NOT EXISTS (SELECT FROM pg_roles WHERE rolname = 'owner')"
        statements = (
            f"DO $$ BEGIN IF {missing} THEN CREATE ROLE owner; END IF; END $$",
            f"ALTER ROLE owner LOGIN PASSWORD '{self.owner}'",
            "REASSIGN OWNED BY app TO owner",
        )
        self._alone(self.directory, "platform", *statements)
        self._mark(self.directory)

    def _mark(self, directory: Path) -> None:
        mark = directory / OWNER_MARK
        mark.write_text("The role `owner` owns the database `platform` and what is in it.\n")
        self._own(mark)

    def _alone(self, directory: Path, database: str, *statements: str) -> None:
        """Run SQL as the superuser while no server runs; each statement is a line."""
        typed = "\n".join(statements) + "\n"
        self._tool("postgres", "--single", "-D", str(directory), database, typed=typed)

    def _tool(self, name: str, *arguments: str, typed: str = "") -> None:
        command = [str(self.binaries / name), *arguments]
        ran = _run_as(
            self.identity, command, directory=self.directory.parent, seconds=INITDB_SECONDS, typed=typed
        )
        if ran.returncode != 0 or "ERROR" in ran.stderr:
            raise StartFailed(
                f"{name} could not make the database in {self.directory}:\n{ran.stdout}{ran.stderr}"
            )

    def _clear_lock(self) -> None:
        """Remove a lock whose process number is somebody else's by now: Postgres would think itself running.

        Every other stale lock is left to Postgres, which also looks for processes that still use the shared memory.
        """
        lock = self.directory / "postmaster.pid"
        try:
            pid = int(lock.read_text().split("\n", 1)[0])
            command = Path(f"/proc/{pid}/cmdline").read_bytes()
        except (OSError, ValueError):
            return
        if str(self.directory).encode() not in command.split(b"\0"):
            lock.unlink()
            return
        os.kill(pid, signal.SIGINT)
        if not ended_within(pid, seconds=STOP_SECONDS):
            raise StartFailed(
                f"Another PostgreSQL (process {pid}) runs on {self.directory} and does not end."
            )

    def _own(self, path: Path) -> None:
        """Give files to whoever the server runs as; an earlier start may have chosen another way."""
        owner = NOBODY_ID if self.identity is Identity.NOBODY else os.getuid()
        if path.stat().st_uid == owner:
            return
        if os.getuid() != 0:
            raise StartFailed(
                f"{path} belongs to another user (uid {path.stat().st_uid}). "
                "Choose another directory with PLATFORM_DATA_DIR=<directory>, or run as that user."
            )
        for each in (path, *path.rglob("*")):
            os.chown(each, owner, owner, follow_symlinks=False)


def _run_as(
    identity: Identity, command: list[str], *, directory: Path, seconds: float, typed: str = ""
) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        launched(command, identity=identity, directory=directory),
        cwd="/",
        input=typed,
        capture_output=True,
        text=True,
        timeout=seconds,
        check=False,
    )
