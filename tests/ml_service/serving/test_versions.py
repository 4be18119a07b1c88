"""Versions on disk and in memory: verified on every load, one load for many callers, the eldest leaves."""

import asyncio
import os
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from ml_service.serving.errors import ModelUnavailable
from ml_service.serving.loaded_models import LoadedModels
from ml_service.serving.version_store import ABANDONED_SECONDS, VersionStore
from ml_service.settings import Settings
from platform_kit.contract.artifact import Manifest
from platform_kit.plumbing.object_store import DigestMismatch, ObjectStore, StorageUnavailable
from tests.ml_service.serving.publishing import publish


@pytest.fixture
def folder(demos: object, demo_folder: Path) -> Path:
    return demo_folder / "demo_model_1"


@pytest.fixture
def versions(settings: Settings, store: ObjectStore) -> VersionStore:
    return VersionStore(store, settings.ml_cache_dir / "versions", entries=2)


class TestOpen:
    def test_fetches_once(self, versions: VersionStore, store: ObjectStore, folder: Path) -> None:
        ref = publish(store, folder)
        _, first = versions.open(ref)
        store.delete([ref.key])

        manifest, again = versions.open(ref)

        assert again == first
        assert manifest.digest() == ref.digest
        assert {each.name for each in again.iterdir()} == {"manifest.json", "model.txt"}

    def test_fetches_again_what_changed_on_disk(
        self, versions: VersionStore, store: ObjectStore, folder: Path
    ) -> None:
        ref = publish(store, folder)
        _, cached = versions.open(ref)
        (cached / "model.txt").write_bytes((cached / "model.txt").read_bytes().replace(b"1", b"2", 1))

        _, again = versions.open(ref)

        assert (again / "model.txt").read_bytes() == (folder / "model.txt").read_bytes()

    def test_refuses_what_changed_in_storage(
        self, versions: VersionStore, store: ObjectStore, folder: Path, settings: Settings
    ) -> None:
        ref = publish(store, folder)
        manifest = Manifest.model_validate_json((folder / "manifest.json").read_bytes())
        store.put_bytes(manifest.files[0].key, b"other bytes")

        with pytest.raises(DigestMismatch):
            versions.open(ref)

        assert list((settings.ml_cache_dir / "versions").iterdir()) == []

    @pytest.mark.parametrize("name", ["../model.txt", "/tmp/model.txt", "a/b"])
    def test_writes_nothing_outside_its_folder(
        self, versions: VersionStore, store: ObjectStore, folder: Path, name: str
    ) -> None:
        manifest = Manifest.model_validate_json((folder / "manifest.json").read_bytes())
        evil = [manifest.files[0].model_copy(update={"name": name})]
        ref = publish(store, folder, files=evil) if Path(name).name == "model.txt" else None

        if ref is not None:
            with pytest.raises(DigestMismatch, match="outside"):
                versions.open(ref)

    def test_forgets_the_eldest(
        self, versions: VersionStore, store: ObjectStore, folder: Path, settings: Settings
    ) -> None:
        for seed in range(4):
            versions.open(publish(store, folder, seed=seed))

        assert len(list((settings.ml_cache_dir / "versions").iterdir())) == 2


class TestSharedFolder:
    """Several threads, and several processes, may fetch into one folder."""

    def test_takes_a_version_that_another_has_just_fetched(
        self, versions: VersionStore, settings: Settings, store: ObjectStore, folder: Path
    ) -> None:
        ref = publish(store, folder)
        others = [VersionStore(store, settings.ml_cache_dir / "versions", entries=2) for _ in range(4)]
        start = threading.Barrier(len(others))

        def fetch(one: VersionStore) -> str:
            start.wait()
            return one.open(ref)[0].digest()

        with ThreadPoolExecutor() as pool:
            digests = list(pool.map(fetch, others))

        assert set(digests) == {ref.digest}
        assert [each.name for each in (settings.ml_cache_dir / "versions").iterdir()] == [ref.sha256]

    def test_keeps_what_another_is_fetching_and_clears_what_nobody_finishes(
        self, versions: VersionStore, settings: Settings, store: ObjectStore, folder: Path
    ) -> None:
        under_way, abandoned = (settings.ml_cache_dir / "versions" / f".partial-{each}" for each in "ab")
        for each in (under_way, abandoned):
            each.mkdir()
            (each / "model.txt").write_bytes(b"half")
        long_ago = time.time() - 2 * ABANDONED_SECONDS
        os.utime(abandoned, (long_ago, long_ago))

        for seed in range(3):
            versions.open(publish(store, folder, seed=seed))

        assert (under_way.exists(), abandoned.exists()) == (True, False)


class TestLoadedModels:
    async def test_loads_once_for_many_callers(
        self, versions: VersionStore, store: ObjectStore, folder: Path
    ) -> None:
        ref = publish(store, folder)
        models = LoadedModels(versions, entries=4, most_bytes=10**9)

        found = await asyncio.gather(*(models.get(ref) for _ in range(20)))

        assert len({id(each) for each in found}) == 1
        assert models.find(ref)

    async def test_lets_the_least_recently_asked_go(
        self, versions: VersionStore, store: ObjectStore, folder: Path
    ) -> None:
        a, b, c = (publish(store, folder, seed=seed) for seed in (1, 2, 3))
        models = LoadedModels(versions, entries=2, most_bytes=10**9)

        for ref in (a, b, a, c):
            await models.get(ref)

        assert [models.find(each) is not None for each in (a, b, c)] == [True, False, True]

    async def test_says_come_back_when_storage_is_away(
        self, settings: Settings, folder: Path, store: ObjectStore
    ) -> None:
        ref = publish(store, folder)
        nowhere = ObjectStore.from_settings(settings.model_copy(update={"s3_endpoint": "127.0.0.1:1"}))
        models = LoadedModels(
            VersionStore(nowhere, settings.ml_cache_dir / "v", entries=2),
            entries=2,
            most_bytes=10**9,
        )

        with pytest.raises(ModelUnavailable) as refused:
            await models.get(ref)

        assert int(refused.value.headers["Retry-After"]) > 0
        with pytest.raises(StorageUnavailable):
            await models.load(ref)
