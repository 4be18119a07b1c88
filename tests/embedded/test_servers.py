"""The four servers: real, with their data kept over every kind of end."""

import io
import os
import signal
import socket
import time
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import asyncpg
import pytest
import redis
from minio import Minio
from minio.error import S3Error

from embedded import Platform
from embedded.postgres import OWNER_MARK
from embedded.servers import SERVERS
from tests.embedded.processes import await_death, await_that


@pytest.fixture(scope="module")
def data_dir(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("servers") / "data"


@pytest.fixture(scope="module")
def platform(data_dir: Path) -> Iterator[Platform]:
    with Platform(data_dir, services=()) as platform:
        yield platform


async def postgres(platform: Platform, statement: str, *, who: str = "DATABASE_OWNER_URL") -> object:
    dsn = platform.env[who].replace("+asyncpg", "")
    connection = await asyncpg.connect(dsn, timeout=5)
    try:
        return await connection.fetchval(statement)
    finally:
        await connection.close()


def storage(platform: Platform, *, secret: str | None = None) -> Minio:
    env = platform.env
    key = secret or env["S3_SECRET_KEY"]
    return Minio(env["S3_ENDPOINT"], access_key=env["S3_ACCESS_KEY"], secret_key=key, secure=False)


def broker(platform: Platform) -> "redis.Redis":
    return redis.Redis.from_url(platform.env["BROKER_URL"])


async def write_everywhere(platform: Platform) -> None:
    await postgres(platform, "CREATE TABLE kept AS SELECT 42 AS value")
    client = storage(platform)
    client.make_bucket("kept")
    client.put_object("kept", "key", io.BytesIO(b"bytes"), 5)
    broker(platform).set("kept", "bell")


async def assert_kept(platform: Platform) -> None:
    assert await postgres(platform, "SELECT value FROM kept") == 42
    assert storage(platform).get_object("kept", "key").data == b"bytes"
    assert broker(platform).get("kept") == b"bell"


class TestFirstStart:
    @pytest.mark.parametrize("who", ["DATABASE_URL", "DATABASE_OWNER_URL"])
    async def test_nobody_is_superuser_in_postgres(self, platform: Platform, who: str) -> None:
        question = (
            "SELECT rolsuper OR rolcreaterole OR rolcreatedb FROM pg_roles WHERE rolname = current_user"
        )

        assert str(await postgres(platform, "SHOW server_version", who=who)) >= "18"
        assert await postgres(platform, question, who=who) is False

    async def test_only_the_owner_makes_tables(self, platform: Platform) -> None:
        await postgres(platform, "CREATE TABLE made (id integer)")

        for statement in ("CREATE TABLE more (id integer)", "SELECT * FROM made", "DROP TABLE made"):
            with pytest.raises(asyncpg.InsufficientPrivilegeError):
                await postgres(platform, statement, who="DATABASE_URL")

    def test_broker_never_evicts_and_keeps_a_log(self, platform: Platform) -> None:
        settings = broker(platform).config_get("*")

        assert settings["maxmemory-policy"] == "noeviction"
        assert (settings["appendonly"], settings["appendfsync"]) == ("yes", "everysec")

    def test_cache_forgets_the_least_used(self, platform: Platform) -> None:
        settings = redis.Redis.from_url(platform.env["CACHE_URL"]).config_get("*")

        assert settings["maxmemory-policy"] == "allkeys-lru"
        assert (settings["maxmemory"], settings["appendonly"], settings["save"]) == ("67108864", "no", "")

    def test_nobody_enters_without_the_secret(self, platform: Platform) -> None:
        for name in ("BROKER_URL", "CACHE_URL"):
            address = platform.env[name].rpartition("@")[2]
            with pytest.raises(redis.AuthenticationError):
                redis.Redis.from_url(f"redis://{address}").ping()
        with pytest.raises(S3Error, match="signature"):
            storage(platform, secret="wrong").list_buckets()

    async def test_a_wrong_password_is_refused_by_postgres(self, platform: Platform) -> None:
        dsn = platform.env["DATABASE_URL"].replace("+asyncpg", "")
        password = dsn.partition("app:")[2].partition("@")[0]

        with pytest.raises(asyncpg.InvalidPasswordError):
            await asyncpg.connect(dsn.replace(password, "wrong"), timeout=5)

    def test_they_listen_on_this_machine_only(self, platform: Platform) -> None:
        pids = [platform.pid(name) for name in SERVERS]

        assert {address for pid in pids for address in listening(pid)} == {"127.0.0.1"}

    @pytest.mark.parametrize("name", ["credentials.json", "secrets.json", "redis-broker/valkey.conf"])
    def test_secrets_are_readable_to_their_owner_only(
        self, platform: Platform, data_dir: Path, name: str
    ) -> None:
        assert (data_dir / name).stat().st_mode & 0o777 == 0o600

    def test_no_secret_is_on_a_command_line(self, platform: Platform) -> None:
        env = platform.env
        passwords = {env["S3_SECRET_KEY"], *(env[name].split(":")[2].split("@")[0] for name in URLS)}
        for name in SERVERS:
            line = Path(f"/proc/{platform.pid(name)}/cmdline").read_text()
            assert not [each for each in passwords if each in line]


URLS = ("DATABASE_URL", "DATABASE_OWNER_URL", "BROKER_URL", "CACHE_URL")


class TestNextStart:
    async def test_data_ports_and_secrets_stay(self, tmp_path: Path) -> None:
        with Platform(tmp_path, services=()) as first:
            await write_everywhere(first)
            env, credentials, pids = first.env, first.credentials, [first.pid(name) for name in SERVERS]
        await_death(*pids)

        with Platform(tmp_path, services=()) as second:
            assert second.env == env
            assert second.credentials == credentials
            await assert_kept(second)

    async def test_other_ports_are_taken_where_the_old_ones_are_in_use(self, tmp_path: Path) -> None:
        with Platform(tmp_path, services=()) as first:
            await write_everywhere(first)
            taken = [port_of(first.env[name]) for name in ("DATABASE_URL", "BROKER_URL", "S3_ENDPOINT")]
        intruders = [listener(port) for port in taken]

        with Platform(tmp_path, services=()) as second:
            again = [port_of(second.env[name]) for name in ("DATABASE_URL", "BROKER_URL", "S3_ENDPOINT")]
            assert set(again).isdisjoint(taken)
            await assert_kept(second)
            storage(second).put_object("kept", "new", io.BytesIO(b"newer"), 5)
            assert storage(second).get_object("kept", "key").data == b"bytes"

        for intruder in intruders:
            intruder.close()

    async def test_a_lock_with_a_recycled_process_number_does_not_stop_postgres(self, tmp_path: Path) -> None:
        with Platform(tmp_path, services=()):
            pass
        lock = tmp_path / "postgres" / "postmaster.pid"
        lock.write_text(f"{os.getppid()}\n{tmp_path / 'postgres'}\n0\n1\n\n127.0.0.1\n\nstopping\n")

        with Platform(tmp_path, services=()) as platform:
            assert await postgres(platform, "SELECT 1") == 1


class TestDirectoryOfBefore:
    """`app` owned the database once: the next start gives all to `owner`."""

    @pytest.fixture
    async def old(self, tmp_path: Path) -> Path:
        with Platform(tmp_path, services=()) as platform:
            await write_everywhere(platform)
            admin = await asyncpg.connect(platform.admin_database_url)
            await admin.execute("ALTER DATABASE platform OWNER TO app")
            await admin.close()
            admin = await asyncpg.connect(platform.admin_database_url, database="platform")
            await admin.execute("REASSIGN OWNED BY owner TO app; DROP OWNED BY owner; DROP ROLE owner")
            await admin.close()
        (tmp_path / "postgres" / OWNER_MARK).unlink()
        return tmp_path

    async def test_is_handed_over_with_its_data(self, old: Path) -> None:
        for _ in range(2):
            with Platform(old, services=()) as platform:
                await assert_kept(platform)
                with pytest.raises(asyncpg.InsufficientPrivilegeError):
                    await postgres(platform, "SELECT value FROM kept", who="DATABASE_URL")
                with pytest.raises(asyncpg.InsufficientPrivilegeError):
                    await postgres(platform, "CREATE TABLE more (id integer)", who="DATABASE_URL")

    async def test_is_handed_over_again_if_that_was_broken_off(self, old: Path) -> None:
        with Platform(old, services=()):
            pass
        (old / "postgres" / OWNER_MARK).unlink()

        with Platform(old, services=()) as platform:
            await assert_kept(platform)

    async def test_is_handed_over_also_after_a_crash(self, old: Path) -> None:
        with Platform(old, services=()) as platform:
            (old / "postgres" / OWNER_MARK).unlink()
            pid = platform.pid("postgres")
            platform.kill("postgres")
            await_that(partial(has_new_process, platform, "postgres", pid), seconds=10)
            await_that(lambda: platform.is_ready("postgres"), seconds=10)

            await assert_kept(platform)
        assert (old / "postgres" / OWNER_MARK).exists()


class TestKilling:
    async def test_a_killed_server_comes_back_with_its_data(self, platform: Platform) -> None:
        await write_everywhere(platform)
        time.sleep(1.1)  # the broker writes its log to disk every second
        old = {name: platform.pid(name) for name in SERVERS}

        for name in SERVERS:
            platform.kill(name)

        await_that(lambda: all(platform.pid(name) not in (None, old[name]) for name in SERVERS), seconds=10)
        await_that(lambda: platform.is_ready(*SERVERS), seconds=10)
        await assert_kept(platform)

    def test_a_server_that_keeps_dying_is_started_more_and_more_slowly(self, platform: Platform) -> None:
        moments = []
        for _ in range(3):
            pid = platform.pid("redis-cache")
            killed = time.monotonic()
            platform.kill("redis-cache", signal.SIGKILL)
            await_that(partial(has_new_process, platform, "redis-cache", pid), seconds=5)
            moments.append(time.monotonic() - killed)

        assert moments[0] + 0.3 < moments[2]


def has_new_process(platform: Platform, name: str, old: int | None) -> bool:
    return platform.pid(name) not in (None, old)


def listening(pid: int | None) -> list[str]:
    inodes = {os.readlink(each) for each in open_files(pid)}
    rows = [line.split() for line in Path(f"/proc/{pid}/net/tcp").read_text().splitlines()[1:]]
    mine = [row[1] for row in rows if row[3] == "0A" and f"socket:[{row[9]}]" in inodes]
    return [socket.inet_ntoa(bytes.fromhex(each.partition(":")[0])[::-1]) for each in mine]


def open_files(pid: int | None) -> Iterator[str]:
    folder = f"/proc/{pid}/fd"
    for name in os.listdir(folder):
        if os.path.islink(f"{folder}/{name}"):
            yield f"{folder}/{name}"


def port_of(address: str) -> int:
    return int(address.rpartition(":")[2].partition("/")[0])


def listener(port: int) -> socket.socket:
    made = socket.socket()
    made.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    made.bind(("127.0.0.1", port))
    made.listen()
    return made
