"""More versions than fit into memory: it stays what it is, and nobody notices but by the time of a load."""

import asyncio
import gc
import os
import threading
from pathlib import Path

import pytest
from prometheus_client import REGISTRY

from ml_service.serving import loaded_models
from ml_service.serving.loaded_models import LoadedModels, LoadedVersion
from ml_service.serving.version_store import VersionStore
from ml_service.settings import Settings
from platform_kit.contract.artifact import ManifestRef
from platform_kit.contract.inputs import RowChecker
from platform_kit.plumbing.object_store import ObjectStore
from tests.ml_service.serving.publishing import publish

VERSIONS, LIMIT, TURNS = 30, 4, 2
GROWTH_BYTES = 8 * 1024**2


@pytest.fixture
def refs(store: ObjectStore, demos: object, demo_folder: Path) -> list[ManifestRef]:
    return [publish(store, demo_folder / "demo_model_1", seed=number) for number in range(VERSIONS)]


@pytest.fixture
def models(settings: Settings, store: ObjectStore) -> LoadedModels:
    versions = VersionStore(store, settings.ml_cache_dir / "versions", entries=64)
    return LoadedModels(versions, entries=LIMIT, most_bytes=10**12)


def limited(settings: Settings, store: ObjectStore, most_bytes: int) -> LoadedModels:
    versions = VersionStore(store, settings.ml_cache_dir / "versions", entries=64)
    return LoadedModels(versions, entries=1000, most_bytes=most_bytes)


def answer(version: LoadedVersion) -> int | None:
    golden = version.manifest.golden_rows[0]
    row = RowChecker(version.manifest.contract).check(golden.input, pointer=()).values
    return version.predictor.score(version.predictor.encode([row]))[0].winner


def resident_bytes() -> int:
    gc.collect()
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE")


def loads() -> float:
    return (
        REGISTRY.get_sample_value("mlp_model_load_duration_seconds_count", {"framework": "lightgbm"}) or 0.0
    )


class TestManyVersions:
    async def test_go_through_a_limit_of_a_few(self, models: LoadedModels, refs: list[ManifestRef]) -> None:
        for each in refs:
            await models.get(each)
        before, loaded = resident_bytes(), loads()
        for _ in range(TURNS):
            for each in refs:
                assert answer(await models.get(each)) in (0, 1)
                assert sum(models.find(other) is not None for other in refs) == LIMIT
        growth = resident_bytes() - before

        print(f"{TURNS * VERSIONS} loads through a limit of {LIMIT}: {growth / 1024**2:+.1f} MB")
        assert loads() - loaded == TURNS * VERSIONS
        assert growth < GROWTH_BYTES

    async def test_go_through_a_limit_of_bytes(
        self, settings: Settings, store: ObjectStore, models: LoadedModels, refs: list[ManifestRef]
    ) -> None:
        size = (await models.get(refs[0])).memory_bytes
        small = limited(settings, store, most_bytes=int(2.5 * size))
        for each in refs:
            await small.get(each)

        assert [each for each in refs if small.find(each)] == refs[-2:]

    async def test_leave_those_that_are_pinned(self, models: LoadedModels, refs: list[ManifestRef]) -> None:
        pinned = refs[:2]
        models.pin([each.sha256 for each in pinned])
        for each in refs:
            await models.get(each)

        assert all(models.find(each) for each in pinned)
        assert sum(models.find(each) is not None for each in refs) == LIMIT

    async def test_leave_who_asks_one_that_has_just_left_with_its_answer(
        self, models: LoadedModels, refs: list[ManifestRef]
    ) -> None:
        in_use = await models.get(refs[0])
        for each in refs[1:]:
            await models.get(each)

        assert models.find(refs[0]) is None
        assert answer(in_use) in (0, 1)

    async def test_are_asked_while_others_come_and_go(
        self, models: LoadedModels, refs: list[ManifestRef]
    ) -> None:
        """None is dropped in use: each request answers with the version that it found."""

        async def ask(number: int) -> int | None:
            version = await models.get(refs[number % VERSIONS])
            return await asyncio.to_thread(answer, version)

        answers = await asyncio.gather(*(ask(number) for number in range(4 * VERSIONS)))

        assert set(answers) <= {0, 1}
        assert sum(models.find(each) is not None for each in refs) == LIMIT


class TestFirstRequests:
    async def test_at_once_are_one_load(
        self, models: LoadedModels, refs: list[ManifestRef], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        begun, may_go_on, usual = [], threading.Event(), loaded_models.load

        def slow(*facts: object) -> LoadedVersion:
            begun.append(facts)
            may_go_on.wait(10)
            return usual(*facts)  # type: ignore[arg-type]

        monkeypatch.setattr(loaded_models, "load", slow)
        asking = [asyncio.create_task(models.get(refs[0])) for _ in range(20)]
        await asyncio.sleep(0.3)
        may_go_on.set()
        versions = await asyncio.gather(*asking)

        assert len(begun) == 1
        assert len({id(each) for each in versions}) == 1
