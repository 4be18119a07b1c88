import asyncio
import time
from collections.abc import Awaitable, Callable, Iterator
from datetime import datetime, timedelta
from typing import Any

import pytest
from sqlalchemy import text

from api_server.cli import main as command_line
from api_server.database import Sessions, transaction
from api_server.housekeeping import sweep
from api_server.housekeeping.chores import Place
from api_server.housekeeping.sweep import Found, Sweep
from api_server.settings import Settings
from platform_kit.contract.artifact import ArtifactFile, ManifestRef
from platform_kit.contract.jobs import Outcome, TrainResult
from platform_kit.plumbing.object_store import ObjectStore, StorageUnavailable, StoredObject
from platform_kit.plumbing.settings import SettingsMissing
from tests.api_server.factories import SignedIn, Worker, new_model, train_result, upload
from tests.api_server.housekeeping.doing import done

GRACE_SECONDS = 1.5
MANIFEST, FILE = "artifacts/aa/manifest", "artifacts/bb/file"


async def swept(place: Place, store: ObjectStore | None = None, **how: Any) -> Found:
    how = {"grace_seconds": GRACE_SECONDS, **how}
    return await Sweep(place.sessions, store or place.store, **how).run()


def put(store: ObjectStore, *keys: str) -> None:
    for key in keys:
        store.put_bytes(key, b"four")


def keys(store: ObjectStore) -> set[str]:
    return set(store.list_keys(""))


def grow_old() -> None:
    """Storage tells ages in whole seconds."""
    time.sleep(GRACE_SECONDS + 1.1)


def result_with_a_file() -> TrainResult:
    file = ArtifactFile(name="model.txt", key=FILE, sha256="1" * 64, size_bytes=4)
    manifest = train_result().manifest.model_copy(update={"files": [file]})
    ref = ManifestRef(key=MANIFEST, sha256="0" * 64, digest=manifest.digest())
    return TrainResult(manifest=manifest, manifest_ref=ref)


async def train(who: SignedIn, worker: Worker) -> Callable[[], Awaitable[None]]:
    """A training that has stored its files; returns how it is handed in."""
    dataset = await upload(who)
    await worker.profile(dataset["job_id"])
    model = await new_model(who, dataset_id=dataset["id"])
    claim = await worker.claim(model["job_id"])

    async def hand_in() -> None:
        await worker.finish(claim, Outcome.SUCCEEDED, result=result_with_a_file())

    return hand_in


class Meanwhile(ObjectStore):
    """A storage where something happens while it is listed, after the first page."""

    happens: Callable[[], None] = staticmethod(lambda: None)

    def list_objects(self, prefix: str) -> Iterator[StoredObject]:
        yield from list(super().list_objects(prefix))
        if prefix == "artifacts/":
            self.happens()


class OtherTimes(ObjectStore):
    """A storage whose clock is wrong by more than a year, and that tells milliseconds in lists alone, as MinIO does."""

    off = timedelta()

    def list_objects(self, prefix: str) -> Iterator[StoredObject]:
        for each in super().list_objects(prefix):
            yield each._replace(written=each.written + self.off + timedelta(milliseconds=123))

    def written(self, key: str) -> datetime | None:
        found = super().written(key)
        return found and found + self.off


class TestSweep:
    async def test_deletes_what_is_old_and_nobodys_and_nothing_else(
        self, maker: SignedIn, worker: Worker, place: Place, store: ObjectStore
    ) -> None:
        hand_in = await train(maker, worker)
        put(store, MANIFEST, FILE)
        await hand_in()
        put(store, "artifacts/cc/nobodys", "datasets/cut-off/1", "backups/mine", "elsewhere")
        grow_old()
        put(store, "artifacts/dd/under-way", "datasets/under-way/1")
        used = {each for each in keys(store) if "nobodys" not in each and "cut-off" not in each}

        found = await swept(place)

        assert keys(store) == used
        assert len(used) == 7
        assert found == Found(objects=7, orphaned_objects=2, orphaned_bytes=8, young_objects=2)
        assert await swept(place) == Found(objects=5, young_objects=2)

    async def test_counts_what_is_missing_and_keeps_its_rows(
        self, maker: SignedIn, worker: Worker, place: Place, store: ObjectStore, sessions: Sessions
    ) -> None:
        hand_in = await train(maker, worker)
        await hand_in()
        dataset = await upload(maker)
        (lost,) = set(store.list_keys("datasets/")) - {(await _keys_of(sessions))[0]}
        store.delete([lost])
        missing: list[str] = []

        found = await swept(place, missing=missing.append)

        assert found.missing_objects == 3
        assert set(missing) == {lost, MANIFEST, FILE}
        assert (await maker.http.get(f"/datasets/{dataset['id']}")).status_code == 200

    async def test_in_pages_and_batches_finds_all(
        self, place: Place, store: ObjectStore, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(sweep, "PAGE", 3)
        monkeypatch.setattr(sweep, "BATCH", 2)
        put(store, *(f"artifacts/{number:02}/x" for number in range(11)))

        found = await swept(place, grace_seconds=0)

        assert (found.orphaned_objects, keys(store)) == (11, set())

    async def test_keeps_what_a_training_has_written_again_meanwhile(
        self,
        maker: SignedIn,
        worker: Worker,
        place: Place,
        settings: Settings,
        monkeypatch: pytest.MonkeyPatch,
    ) -> None:
        monkeypatch.setattr(sweep, "PAGE", 3)
        store = Meanwhile.from_settings(settings)
        hand_in = await train(maker, worker)
        put(store, MANIFEST, FILE, "artifacts/cc/nobodys")
        grow_old()
        store.happens = lambda: put(store, MANIFEST, FILE)

        found = await swept(place, store)
        await hand_in()

        assert found.orphaned_objects == 1
        assert {MANIFEST, FILE} <= keys(store)
        assert (await swept(place)).missing_objects == 0

    async def test_keeps_what_a_training_has_registered_meanwhile(
        self,
        maker: SignedIn,
        worker: Worker,
        place: Place,
        settings: Settings,
        monkeypatch: pytest.MonkeyPatch,
    ) -> None:
        monkeypatch.setattr(sweep, "PAGE", 2)
        store = Meanwhile.from_settings(settings)
        hand_in = await train(maker, worker)
        put(store, MANIFEST, FILE)
        loop = asyncio.get_running_loop()
        store.happens = lambda: asyncio.run_coroutine_threadsafe(_run(hand_in), loop).result()

        found = await swept(place, store, grace_seconds=0)

        assert found.orphaned_objects == 0
        assert {MANIFEST, FILE} <= keys(store)

    async def test_tells_ages_by_the_clock_of_the_storage(self, place: Place, settings: Settings) -> None:
        store = OtherTimes.from_settings(settings)
        put(store, "artifacts/aa/old")
        grow_old()
        put(store, "artifacts/bb/young")

        for days in (-400, 400):
            store.off = timedelta(days=days)
            found = await swept(place, store, dry_run=True)
            assert (found.orphaned_objects, found.young_objects) == (1, 1)

    async def test_by_two_at_once_deletes_the_same(self, place: Place, store: ObjectStore) -> None:
        put(store, *(f"artifacts/{number:02}/x" for number in range(20)))

        await asyncio.gather(swept(place, grace_seconds=0), swept(place, grace_seconds=0))

        assert keys(store) == set()

    async def test_without_a_storage_says_so(self, place: Place, settings: Settings) -> None:
        away = ObjectStore.from_settings(settings.model_copy(update={"s3_endpoint": "127.0.0.1:1"}))

        with pytest.raises(StorageUnavailable):
            await swept(place, away)

    async def test_as_a_chore_keeps_what_is_younger_than_a_day(
        self, place: Place, store: ObjectStore
    ) -> None:
        put(store, "artifacts/aa/x")

        counts = await done(place, "orphaned_objects")

        assert (counts["orphaned_objects"], counts["young_objects"]) == (0, 1)
        assert keys(store) == {"artifacts/aa/x"}


class TestReferences:
    async def test_are_found_by_indexes(self, sessions: Sessions) -> None:
        """Nobody reads all manifests for each page of keys."""
        indexes = ("ix_dataset_versions_key", "ix_model_versions_manifest_key", "ix_model_versions_files")
        async with transaction(sessions) as session:
            await session.execute(text("SET LOCAL enable_seqscan = off"))
            for room in sweep.ROOMS.values():
                assert await room.keys_in_use(session, ["datasets/x", "artifacts/x"]) == set()
            scans = [
                await session.scalar(text(f"SELECT pg_stat_get_xact_numscans('{each}'::regclass)"))
                for each in indexes
            ]

        assert all(scans), scans


class TestCommand:
    def test_says_what_it_would_delete_and_then_deletes_it(
        self,
        place: Place,
        store: ObjectStore,
        environment: dict[str, str],
        monkeypatch: pytest.MonkeyPatch,
        capsys: pytest.CaptureFixture[str],
    ) -> None:
        put(store, "artifacts/aa/nobodys")
        grow_old()
        monkeypatch.setenv("ORPHAN_GRACE_SECONDS", str(GRACE_SECONDS))

        said = [_command(["sweep", *how], monkeypatch, capsys) for how in (["--dry-run"], [], [])]

        assert "would delete artifacts/aa/nobodys: 4 bytes, written 20" in said[0]
        assert "\ndeleted artifacts/aa/nobodys" in f"\n{said[1]}"
        assert [line for line in said[2].splitlines() if "orphaned" in line] == [
            "orphaned_objects: 0",
            "orphaned_bytes: 0",
        ]
        assert keys(store) == set()


class TestGrace:
    def test_is_two_hours_at_least_in_production(
        self, settings: Settings, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setenv("ORPHAN_GRACE_SECONDS", "7199")
        assert Settings.from_environment().orphan_grace_seconds == 7199

        monkeypatch.setenv("ENVIRONMENT", "production")
        with pytest.raises(
            SettingsMissing, match="ORPHAN_GRACE_SECONDS: must be at least 7200 in production"
        ):
            Settings.from_environment()


def _command(
    arguments: list[str], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> str:
    monkeypatch.setattr("sys.argv", ["cli", *arguments])
    command_line()
    return capsys.readouterr().out


async def _run(work: Callable[[], Awaitable[None]]) -> None:
    await work()


async def _keys_of(sessions: Sessions) -> list[str]:
    """Of all datasets, the oldest first."""
    async with transaction(sessions) as session:
        return list(await session.scalars(text("SELECT key FROM dataset_versions ORDER BY created_at")))
