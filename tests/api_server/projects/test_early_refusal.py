"""What is refused about an upload before its bytes are there."""

from collections.abc import AsyncIterator

import pytest

from platform_kit.contract.access import Role
from tests.api_server.conftest import SignIn
from tests.api_server.factories import SignedIn
from tests.api_server.projects.crew import new_project
from tests.api_server.projects.test_quotas import allow, send

MEGABYTE = 2**20
BOUNDARY = "boundary"


@pytest.fixture
async def project_id(maker: SignedIn) -> str:
    return await new_project(maker)


@pytest.fixture
async def admin(sign_in: SignIn) -> SignedIn:
    return await sign_in(Role.ADMIN)


class Slow:
    """An upload whose sender notes how much of it was taken."""

    def __init__(self, *, megabytes: int, head: bytes) -> None:
        self._megabytes, self._head, self.taken = megabytes, head, 0
        self.headers = {
            "Content-Type": f"multipart/form-data; boundary={BOUNDARY}",
            "Content-Length": str(len(head) + megabytes * MEGABYTE),
        }

    async def __aiter__(self) -> AsyncIterator[bytes]:
        yield self._head
        for _ in range(self._megabytes):
            self.taken += 1
            yield b"1,2,3,4\n" * (MEGABYTE // 8)


def head_of(**fields: str) -> bytes:
    parts = [
        f'--{BOUNDARY}\r\nContent-Disposition: form-data; name="{name}"\r\n\r\n{value}\r\n'
        for name, value in fields.items()
    ]
    file = f'--{BOUNDARY}\r\nContent-Disposition: form-data; name="file"; filename="a.csv"\r\n\r\na,b,c,d\n'
    return ("".join(parts) + file).encode()


class TestUpload:
    async def test_that_cannot_fit_is_refused(
        self, maker: SignedIn, admin: SignedIn, project_id: str
    ) -> None:
        await allow(admin, project_id, dataset_bytes=MEGABYTE)
        upload = Slow(megabytes=40, head=head_of(name="d", project_id=project_id))

        answer = await maker.http.post("/datasets", content=upload, headers=upload.headers)

        assert (answer.status_code, answer.json()["code"]) == (409, "quota_exceeded")
        assert upload.taken < 3

    async def test_of_a_version_that_cannot_fit_is_refused(
        self, maker: SignedIn, admin: SignedIn, project_id: str
    ) -> None:
        dataset = (await send(maker, project_id)).json()
        await allow(admin, project_id, dataset_bytes=MEGABYTE)
        upload = Slow(megabytes=40, head=head_of())

        answer = await maker.http.post(
            f"/datasets/{dataset['id']}/versions", content=upload, headers=upload.headers
        )

        assert (answer.status_code, answer.json()["code"]) == (409, "quota_exceeded")
        assert upload.taken < 3

    async def test_of_the_same_large_bytes_into_a_full_project_is_not(
        self, maker: SignedIn, admin: SignedIn, project_id: str
    ) -> None:
        large = b"a\n" + b"1234567\n" * (MEGABYTE // 2)
        dataset = (await send(maker, project_id, large)).json()
        await allow(admin, project_id, dataset_bytes=len(large))

        same = await maker.http.post(f"/datasets/{dataset['id']}/versions", files={"file": ("a.csv", large)})

        assert same.status_code == 200

    async def test_into_a_foreign_project_is_refused(self, other: SignedIn, project_id: str) -> None:
        upload = Slow(megabytes=40, head=head_of(name="d", project_id=project_id))

        answer = await other.http.post("/datasets", content=upload, headers=upload.headers)

        assert (answer.status_code, upload.taken < 3) == (404, True)
