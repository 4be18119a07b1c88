"""The storage's objects as a tar, through the commands that a backup uses."""

import io
import os
import re
import subprocess
import sys
import tarfile
import time
from datetime import UTC, datetime
from typing import BinaryIO, cast
from uuid import uuid4

import pytest

from api_server.archive import ArchiveRefused, read_objects
from api_server.settings import Settings
from platform_kit.plumbing.object_store import ObjectStore

MANY_BYTES = 300 * 2**20
MEASURED = """
import re, sys
from pathlib import Path
from api_server.cli import main

sys.argv = ["cli", "export-objects"]
main()
sys.stderr.write(re.search(r"VmHWM:\\s+(\\d+) kB", Path("/proc/self/status").read_text())[1])
"""


class Zeros(io.RawIOBase):
    """As many bytes as one likes, none of which is held."""

    def __init__(self, size_bytes: int) -> None:
        self._left = size_bytes

    def read(self, size: int = -1, /) -> bytes:
        taken = self._left if size < 0 else min(size, self._left)
        self._left -= taken
        return bytes(taken)


def bucket(settings: Settings) -> tuple[ObjectStore, dict[str, str]]:
    """An empty bucket, and the environment of a command that works on it."""
    name = f"archive-{uuid4().hex[:8]}"
    store = ObjectStore.from_settings(settings.model_copy(update={"s3_bucket": name}))
    store.prepare()
    return store, {**os.environ, "S3_BUCKET": name}


def command(
    name: str, environment: dict[str, str], *options: str, typed: bytes = b""
) -> subprocess.CompletedProcess[bytes]:
    return subprocess.run(
        [sys.executable, "-m", "api_server.cli", name, *options],
        env=environment,
        input=typed,
        capture_output=True,
        check=False,
    )


def tar_of(name: str, *, kind: bytes = tarfile.REGTYPE) -> bytes:
    made = io.BytesIO()
    with tarfile.open(fileobj=made, mode="w") as tar:
        for each in ("fine", name):
            entry = tarfile.TarInfo(each)
            entry.type = kind if each == name else tarfile.REGTYPE
            entry.linkname = "/etc/passwd"
            entry.size = 0 if entry.type == tarfile.SYMTYPE else 1
            tar.addfile(entry, io.BytesIO(b"x"))
    return made.getvalue()


class TestExportAndImport:
    def test_bring_every_object_to_another_bucket(self, settings: Settings) -> None:
        source, from_source = bucket(settings)
        target, to_target = bucket(settings)
        objects = {"artifacts/" + "a" * 150: b"x" * 70_000, "datasets/ü ß.csv": b"a,b", "empty": b""}
        for key, content in {**objects, "deleted": b"x"}.items():
            source.put_bytes(key, content)
        source.delete(["deleted"])
        target.put_bytes("datasets/ü ß.csv", b"older")

        exported = command("export-objects", from_source)
        imported = command("import-objects", to_target, typed=exported.stdout)

        assert exported.stderr == b"exported 3 objects, 70003 bytes\n"
        assert (imported.stderr, imported.stdout) == (b"imported 3 objects, 70003 bytes\n", b"")
        assert {key: target.read(key) for key in target.list_keys("")} == objects

    def test_of_nothing_is_a_tar_too(self, settings: Settings) -> None:
        exported = command("export-objects", bucket(settings)[1])
        imported = command("import-objects", bucket(settings)[1], typed=exported.stdout)

        assert imported.stderr == b"imported 0 objects, 0 bytes\n"

    def test_of_what_is_new_leave_the_old_out(self, settings: Settings) -> None:
        store, environment = bucket(settings)
        store.put_bytes("old", b"1")
        time.sleep(1.1)  # times of the storage are whole seconds
        since = datetime.now(UTC).replace(microsecond=0)
        store.put_bytes("new", b"22")

        exported = command("export-objects", environment, "--since", since.isoformat())

        assert exported.stderr == b"exported 1 objects, 2 bytes\n"

    def test_leave_out_and_name_what_could_not_be_put_back(self, settings: Settings) -> None:
        store, environment = bucket(settings)
        store.put_bytes("kept", b"1")
        store.put_bytes("folder/", b"")

        exported = command("export-objects", environment)

        assert exported.stderr.splitlines()[0] == b"exported 1 objects, 1 bytes"
        assert b"left out 'folder/'" in exported.stderr

    def test_hold_no_object_in_memory(self, settings: Settings) -> None:
        store, environment = bucket(settings)
        store.put_stream("big", cast(BinaryIO, Zeros(MANY_BYTES)), size_bytes=MANY_BYTES)

        ran = subprocess.run(
            [sys.executable, "-c", MEASURED],
            env=environment,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            check=True,
        )

        assert b"exported 1 objects" in ran.stderr
        assert int(ran.stderr.split()[-1]) * 1024 < MANY_BYTES * 0.8


class TestImport:
    @pytest.fixture
    def store(self, settings: Settings) -> ObjectStore:
        return bucket(settings)[0]

    @pytest.mark.parametrize("name", ["/etc/passwd", "../outside", "a/../../b", "a//b", "./a", "."])
    def test_refuses_names_that_lead_elsewhere(self, store: ObjectStore, name: str) -> None:
        with pytest.raises(ArchiveRefused, match=f"The tar holds '{re.escape(name)}', which is no object"):
            read_objects(store, io.BytesIO(tar_of(name)))

        assert list(store.list_keys("")) == ["fine"]

    @pytest.mark.parametrize("kind", [tarfile.SYMTYPE, tarfile.LNKTYPE])
    def test_refuses_links(self, store: ObjectStore, kind: bytes) -> None:
        with pytest.raises(ArchiveRefused, match="which is no object"):
            read_objects(store, io.BytesIO(tar_of("link", kind=kind)))

    @pytest.mark.parametrize("size", [0, 700, 1024, 1100, 1536, 2048])
    def test_says_when_a_tar_is_not_whole(self, store: ObjectStore, size: int) -> None:
        with pytest.raises(ArchiveRefused, match=r"cannot be read|cut off"):
            read_objects(store, io.BytesIO(tar_of("b")[:size]))

    def test_ends_with_a_sentence_when_it_refuses(self, settings: Settings) -> None:
        ran = command("import-objects", bucket(settings)[1], typed=b"no tar at all" * 100)

        assert (ran.returncode, ran.stdout) == (1, b"")
        assert ran.stderr.startswith(b"After 0 objects the tar cannot be read")
