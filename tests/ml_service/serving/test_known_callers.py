import stat
import time
from pathlib import Path
from uuid import uuid4

import pytest

from ml_service.serving import known_callers
from ml_service.serving.known_callers import Known, KnownCallers
from platform_kit.contract.access import CredentialKind
from tests.ml_service.serving.calling import principal


@pytest.fixture
def callers(tmp_path: Path) -> KnownCallers:
    return KnownCallers(tmp_path / "access.json", denial_seconds=1)


def known(**facts: object) -> Known:
    return Known(principal(**facts), time.time(), CredentialKind.BEARER)


class TestKeep:
    def test_of_very_many_the_newest_are_known(
        self, callers: KnownCallers, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(known_callers, "KEPT", 3)
        for name in "abcd":
            callers.keep(name, known())

        assert [callers.find(name) is not None for name in "abcd"] == [False, True, True, True]


class TestDeny:
    def test_of_very_many_takes_nobodys_place_and_no_more_memory(self, callers: KnownCallers) -> None:
        callers.keep("ada", known())

        for number in range(3 * known_callers.DENIALS_KEPT):
            callers.deny(f"guess-{number}")

        assert callers.find("ada") is not None
        assert len(callers) == 1 + known_callers.DENIALS_KEPT

    def test_ends_what_was_known(self, callers: KnownCallers) -> None:
        callers.keep("ada", known())

        callers.deny("ada")

        assert (callers.find("ada"), callers.is_denied("ada")) == (None, True)

    def test_is_taken_back_by_a_yes(self, callers: KnownCallers) -> None:
        callers.deny("ada")

        callers.keep("ada", known())

        assert not callers.is_denied("ada")


class TestForget:
    def test_drops_whoever_rests_on_what_has_ended_and_nobody_else(self, callers: KnownCallers) -> None:
        session, user, project = uuid4(), uuid4(), uuid4()
        callers.keep("session", known(credential_id=session))
        callers.keep("user", known(user_id=user))
        callers.keep("project", known(project_ids=[uuid4(), project]))
        callers.keep("other", known(project_ids=[uuid4()]))

        assert callers.forget({session, user, project}) == 3

        left = [name for name in ("session", "user", "project", "other") if callers.find(name)]
        assert left == ["other"]

    @pytest.mark.alone
    def test_of_ten_thousand_takes_milliseconds(self, callers: KnownCallers) -> None:
        for number in range(known_callers.KEPT):
            callers.keep(str(number), known(project_ids=[uuid4() for _ in range(5)]))
        started = time.perf_counter()

        callers.forget({uuid4()})

        assert time.perf_counter() - started < 0.1


class TestSave:
    async def test_is_read_back_and_holds_no_credential(self, callers: KnownCallers, tmp_path: Path) -> None:
        path = tmp_path / "access.json"
        callers.keep("digest", known(username="ada"))
        await callers.save()

        found = KnownCallers(path, denial_seconds=1).find("digest")

        assert found is not None
        assert found.principal.username == "ada"
        assert stat.S_IMODE(path.stat().st_mode) == 0o600

    async def test_leaves_out_the_denied_and_the_forgotten(
        self, callers: KnownCallers, tmp_path: Path
    ) -> None:
        user = uuid4()
        callers.keep("forgotten", known(user_id=user))
        callers.keep("denied", known())
        await callers.save()
        callers.forget({user})
        callers.deny("denied")
        await callers.save()

        again = KnownCallers(tmp_path / "access.json", denial_seconds=1)

        assert len(again) == 0

    def test_what_cannot_be_read_is_as_if_nothing_was_known(self, tmp_path: Path) -> None:
        path = tmp_path / "access.json"
        for content in (b"", b"[]", b'{"a": 1}', b'{"a": {"principal": {}}}', b"\xff"):
            path.write_bytes(content)
            assert len(KnownCallers(path, denial_seconds=1)) == 0
