import hashlib
import io
import json
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from types import SimpleNamespace
from typing import Any, cast

import pytest
from minio import Minio
from minio.error import S3Error
from pydantic import SecretStr

from platform_kit.plumbing.object_store import (
    DigestMismatch,
    ObjectMissing,
    ObjectStore,
    StorageRefused,
    StorageUnavailable,
)
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


class TestPrepare:
    @pytest.fixture
    def client(self, environment: dict[str, str]) -> Minio:
        return Minio(
            environment["S3_ENDPOINT"],
            access_key=environment["S3_ACCESS_KEY"],
            secret_key=environment["S3_SECRET_KEY"],
            region="us-east-1",
            secure=False,
        )

    def test_keeps_what_was_replaced_for_a_while(self, store: ObjectStore, client: Minio) -> None:
        store.prepare(noncurrent_days=7)

        store.put_bytes("kept", b"first")
        store.put_bytes("kept", b"second")
        store.delete(["kept"])

        versions = list(client.list_objects("kit-tests", prefix="kept", include_version=True))
        assert sorted(each.is_delete_marker for each in versions) == [False, False, True]
        rules = client.get_bucket_lifecycle("kit-tests")
        assert rules is not None
        (rule,) = rules.rules
        assert rule.noncurrent_version_expiration is not None
        assert rule.noncurrent_version_expiration.noncurrent_days == 7
        assert rule.abort_incomplete_multipart_upload is not None
        assert rule.abort_incomplete_multipart_upload.days_after_initiation == 1

    def test_hides_what_was_deleted(self, store: ObjectStore) -> None:
        store.put_bytes("gone", b"x")
        store.delete(["gone"])

        assert store.exists("gone") is False
        assert list(store.list_keys("gone")) == []
        with pytest.raises(ObjectMissing):
            store.read("gone")

    def test_shuts_out_who_has_no_account(self, store: ObjectStore, client: Minio) -> None:
        everybody = {"Effect": "Allow", "Principal": "*", "Action": "s3:GetObject"}
        statement = {**everybody, "Resource": "arn:aws:s3:::kit-tests/*"}
        client.set_bucket_policy("kit-tests", json.dumps({"Version": "2012-10-17", "Statement": [statement]}))

        store.prepare()

        with pytest.raises(S3Error, match="NoSuchBucketPolicy"):
            client.get_bucket_policy("kit-tests")

    def test_by_several_at_once_makes_one_bucket(self, environment: dict[str, str]) -> None:
        store = store_at(environment, s3_bucket="made-at-once")

        with ThreadPoolExecutor() as pool:
            list(pool.map(lambda _: store.prepare(), range(4)))

        store.check()

    def test_can_leave_versioning_alone(self, environment: dict[str, str], client: Minio) -> None:
        store_at(environment, s3_bucket="no-versions").prepare(noncurrent_days=0)

        assert client.get_bucket_versioning("no-versions").status in (None, "", "Off")

    @pytest.mark.parametrize("code", ["NotImplemented", "MalformedXML"])
    def test_goes_on_where_a_server_offers_less(self, code: str, capsys: pytest.CaptureFixture[str]) -> None:
        with lesser_server(code) as endpoint:
            environment = {"S3_ENDPOINT": endpoint, "S3_ACCESS_KEY": "key", "S3_SECRET_KEY": "secret key"}
            store_at(environment).prepare()

        assert capsys.readouterr().out.count("storage.not_offered") == 3


@contextmanager
def lesser_server(code: str) -> Iterator[str]:
    """An S3 server that has every bucket, and answers whatever is asked about one with `code`."""

    class Lesser(BaseHTTPRequestHandler):
        def do_HEAD(self) -> None:
            self.send_response(200)
            self.end_headers()

        def _refuse(self) -> None:
            self.rfile.read(int(self.headers.get("Content-Length", 0)))
            body = f"<Error><Code>{code}</Code><Message>no</Message></Error>".encode()
            self.send_response(501 if code == "NotImplemented" else 400)
            self.send_header("Content-Type", "application/xml")
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        do_PUT = do_DELETE = do_GET = _refuse

        def log_message(self, *_: object) -> None:
            """A test's output is for its findings."""

    with ThreadingHTTPServer(("127.0.0.1", 0), Lesser) as server:
        Thread(target=server.serve_forever, daemon=True).start()
        yield f"127.0.0.1:{server.server_port}"
        server.shutdown()


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

        with pytest.raises(StorageRefused, match="SignatureDoesNotMatch"):
            store_at(environment, s3_secret_key=SecretStr("guessed")).read("a")


class TestClock:
    def test_is_that_by_which_objects_are_dated_and_leaves_nothing(self, store: ObjectStore) -> None:
        before = store.clock()
        store.put_bytes("dated", b"four")
        after = store.clock()

        (listed,) = store.list_objects("dated")

        assert before is not None
        assert after is not None
        assert before <= listed.written.replace(microsecond=0) <= after
        assert store.written("dated") == listed.written.replace(microsecond=0)
        assert (listed.key, listed.size_bytes) == ("dated", 4)
        assert list(store.list_keys("housekeeping/")) == []

    def test_knows_nothing_of_an_object_that_is_not_there(self, store: ObjectStore) -> None:
        with pytest.raises(ObjectMissing):
            store.written("never")
