import hashlib
import io
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest
from pydantic import SecretStr

from platform_kit.plumbing.object_store import DigestMismatch, ObjectMissing, ObjectStore, StorageUnavailable
from platform_kit.plumbing.settings import KitSettings
from tests.servers import servers_environment


@pytest.fixture(scope="module")
def environment(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, str]]:
    with servers_environment(tmp_path_factory.mktemp("servers")) as found:
        yield found


def store_at(environment: dict[str, str], **changes: Any) -> ObjectStore:
    known = {
        "s3_endpoint": environment["S3_ENDPOINT"],
        "s3_access_key": environment["S3_ACCESS_KEY"],
        "s3_secret_key": SecretStr(environment["S3_SECRET_KEY"]),
        "s3_region": "us-east-1",
        "s3_secure": False,
        "s3_bucket": "kit-tests",
    }
    return ObjectStore.from_settings(cast(KitSettings, SimpleNamespace(**{**known, **changes})))


@pytest.fixture
def store(environment: dict[str, str]) -> ObjectStore:
    store = store_at(environment)
    store.prepare()
    store.prepare()
    return store


class TestRoundTrip:
    @pytest.mark.parametrize("size", [0, 1, 5 * 2**20, 40 * 2**20])
    def test_keeps_every_byte_of_a_stream(self, store: ObjectStore, size: int) -> None:
        content = bytes(range(256)) * (size // 256) + b"x" * (size % 256)

        store.put_stream("stream", io.BytesIO(content))

        assert store.read("stream") == content

    def test_fetches_what_hashes_right_and_nothing_else(self, store: ObjectStore, tmp_path: Path) -> None:
        store.put_bytes("a", b"hello")

        store.fetch("a", tmp_path / "good", sha256=hashlib.sha256(b"hello").hexdigest())
        with pytest.raises(DigestMismatch):
            store.fetch("a", tmp_path / "bad", sha256="0" * 64)

        assert [each.name for each in tmp_path.iterdir()] == ["good"]

    def test_knows_what_is_there(self, store: ObjectStore) -> None:
        store.put_bytes("there/1", b"x")

        assert (store.exists("there/1"), store.exists("there/2")) == (True, False)
        assert list(store.list_keys("there/")) == ["there/1"]
        store.delete(["there/1", "there/2"])
        assert list(store.list_keys("there/")) == []


class TestFaults:
    def test_a_missing_object_is_told_from_a_missing_server(
        self, store: ObjectStore, environment: dict[str, str]
    ) -> None:
        nowhere = store_at(environment, s3_endpoint="127.0.0.1:1")

        with pytest.raises(ObjectMissing):
            store.read("never written")
        with pytest.raises(StorageUnavailable):
            nowhere.read("never written")

    def test_a_wrong_secret_is_no_access(self, environment: dict[str, str], store: ObjectStore) -> None:
        store.put_bytes("a", b"x")

        with pytest.raises(StorageUnavailable):
            store_at(environment, s3_secret_key=SecretStr("guessed")).read("a")
