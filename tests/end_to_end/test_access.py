"""What ends a caller's access ends it everywhere: on api-server at once, on ml-service within two seconds."""

import json
import os
import signal
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from uuid import UUID

import httpx2
import pytest

from tests.api_server.auth.forge import Forge
from tests.api_server.auth.token_cases import FORGED, GOOD, Case
from tests.end_to_end.stack import Stack
from tests.verify.calling import Caller
from tests.verify.loop import Json, body_of
from tests.verify.scene import Scene

TRUSTED_SECONDS = 2.0
SPREADS_SECONDS = 0.5
"""With Redis; on a machine that does nothing else it is a few milliseconds."""
RETRY_SECONDS = 0.01


@dataclass
class Access:
    """One person's way to a model of somebody else's project. key: sent in place of the token where there is one."""

    scene: Scene
    person: Caller
    key: Json | None = None

    @property
    def owner(self) -> Caller:
        return self.scene.maker

    @property
    def admin(self) -> Caller:
        return self.scene.known("admin")

    @property
    def headers(self) -> dict[str, str]:
        return {"X-API-Key": self.key["secret"]} if self.key else self.person.authorization()

    def api(self) -> int:
        """What api-server answers to a look at the model."""
        model_id = self.scene.model["id"]
        return self.scene.nobody.api("GET", f"/models/{model_id}", headers=self.headers).status_code


def predict(access: Access) -> httpx2.Response:
    row, endpoint = access.scene.rows[0].features, access.scene.model["endpoint"]
    body = {"input_data": row}
    return access.scene.nobody.ml("POST", f"/predict/{endpoint}", json=body, headers=access.headers)


def account_of(caller: Caller) -> Json:
    found: Json = body_of(caller.api("GET", "/auth/me"))
    return found


def members(access: Access) -> str:
    return f"/projects/{access.scene.model['project_id']}/members"


def invited(scene: Scene) -> Access:
    access = Access(scene, scene.newcomer())
    body_of(access.owner.api("POST", members(access), json={"username": access.person.username}))
    return access


def with_key(scene: Scene) -> Access:
    access = invited(scene)
    access.key = body_of(
        access.person.api("POST", "/api-keys", json={"name": "k", "scopes": ["predict", "read"]})
    )
    return access


def promoted(scene: Scene) -> Access:
    """Sees the model as an administrator only."""
    access = Access(scene, scene.newcomer())
    body_of(access.admin.api("PATCH", f"/users/{account_of(access.person)['id']}", json={"role": "admin"}))
    return access


def log_out(access: Access) -> httpx2.Response:
    return access.person.api("POST", "/auth/logout")


def change_password(access: Access) -> httpx2.Response:
    """Elsewhere, so that this session ends."""
    elsewhere = access.scene.anybody()
    elsewhere.username, elsewhere.password = access.person.username, access.person.password
    body_of(elsewhere.log_in())
    body = {"current_password": elsewhere.password, "new_password": "another wholly different horse"}
    return elsewhere.api("POST", "/auth/password", json=body)


def disable(access: Access) -> httpx2.Response:
    return access.admin.api("PATCH", f"/users/{account_of(access.person)['id']}", json={"is_active": False})


def demote(access: Access) -> httpx2.Response:
    return access.admin.api("PATCH", f"/users/{account_of(access.person)['id']}", json={"role": "user"})


def revoke_key(access: Access) -> httpx2.Response:
    assert access.key is not None
    return access.person.api("DELETE", f"/api-keys/{access.key['id']}")


def remove_member(access: Access) -> httpx2.Response:
    return access.owner.api("DELETE", f"{members(access)}/{account_of(access.person)['id']}")


@dataclass(frozen=True)
class Ending:
    """start: somebody who may; end: what makes that they may not; status: what they get then, within which time."""

    start: Callable[[Scene], Access]
    end: Callable[[Access], httpx2.Response]
    status: int
    within_seconds: float = SPREADS_SECONDS

    def __str__(self) -> str:
        return self.end.__name__


ENDINGS = [
    Ending(invited, log_out, 401),
    Ending(invited, change_password, 401),
    Ending(invited, disable, 401),
    Ending(with_key, disable, 401),
    Ending(with_key, revoke_key, 401),
    Ending(promoted, demote, 404),
    Ending(invited, remove_member, 404),
    Ending(with_key, remove_member, 404),
]


@contextmanager
def frozen(stack: Stack, name: str) -> Iterator[None]:
    pid = stack.pids()[name]
    os.kill(pid, signal.SIGSTOP)
    try:
        yield
    finally:
        os.kill(pid, signal.SIGCONT)


def seconds_until(access: Access, status: int, *, began: float) -> float:
    """Since the change was asked for; the caller goes on asking, so that every cache stays warm."""
    while True:
        found = predict(access).status_code
        seconds = time.monotonic() - began
        if found == status:
            return seconds
        assert found == 200
        assert seconds < TRUSTED_SECONDS + 0.5, f"still {found} after {seconds:.2f} s"
        time.sleep(RETRY_SECONDS)


@pytest.mark.alone
class TestEndings:
    @pytest.mark.parametrize("ending", ENDINGS, ids=str)
    def test_are_effective_on_both_services(self, scene: Scene, ending: Ending) -> None:
        access = ending.start(scene)
        assert (access.api(), predict(access).status_code) == (200, 200)

        assert ending.end(access).is_success
        began = time.monotonic()

        assert access.api() == ending.status
        assert seconds_until(access, ending.status, began=began) < ending.within_seconds

    @pytest.mark.parametrize("ending", ENDINGS, ids=str)
    def test_are_effective_in_time_without_redis(self, stack: Stack, scene: Scene, ending: Ending) -> None:
        access = ending.start(scene)
        with frozen(stack, "redis-cache"):
            assert (access.api(), predict(access).status_code) == (200, 200)

            assert ending.end(access).is_success
            began = time.monotonic()

            assert access.api() == ending.status
            assert seconds_until(access, ending.status, began=began) <= TRUSTED_SECONDS + 0.1


class TestAway:
    @pytest.mark.parametrize("start", [invited, with_key], ids=["session", "key"])
    def test_callers_who_are_known_go_on_and_others_come_back_later(
        self, stack: Stack, scene: Scene, start: Callable[[Scene], Access]
    ) -> None:
        known, unknown = start(scene), start(scene)
        assert predict(known).status_code == 200
        with frozen(stack, "api-server"):
            ends = time.monotonic() + TRUSTED_SECONDS + 0.5
            answers = []
            while time.monotonic() < ends:
                answers.append(predict(known).status_code)
                time.sleep(0.1)
            refused = predict(unknown)

        assert set(answers) == {200}
        assert (refused.status_code, refused.json()["code"]) == (503, "control_plane_unavailable")
        assert int(refused.headers["Retry-After"]) > 0

    def test_callers_who_are_known_do_not_notice_that_api_server_was_killed(
        self, stack: Stack, scene: Scene
    ) -> None:
        known = with_key(scene)
        assert predict(known).status_code == 200
        pid = stack.kill("api-server")
        answers = []

        while not is_ready(scene):
            answers.append(predict(known).status_code)
            time.sleep(0.05)

        assert set(answers) == {200}
        stack.await_return("api-server", old_pid=pid)


def is_ready(scene: Scene) -> bool:
    try:
        return scene.nobody.api("GET", "//health/ready").status_code == 200
    except httpx2.TransportError:
        return False


class TestRefused:
    def test_are_in_the_audit_log_with_who_and_what(self, scene: Scene) -> None:
        stranger = Access(scene, scene.newcomer())
        refused = predict(stranger)
        assert refused.status_code == 404
        admin, who = stranger.admin, account_of(stranger.person)["id"]

        entry = _awaited(admin, f"/audit?user_id={who}&action=prediction:make")

        facts = {name: entry[name] for name in ("service", "outcome", "status", "object_id", "request_id")}
        assert facts == {
            "service": "ml-service",
            "outcome": "refused",
            "status": 404,
            "object_id": scene.model["endpoint"],
            "request_id": refused.headers["X-Request-ID"],
        }


def _awaited(admin: Caller, path: str) -> Json:
    ends = time.monotonic() + 5
    while not (found := body_of(admin.api("GET", path))["items"]):
        assert time.monotonic() < ends
        time.sleep(0.1)
    return dict(found[0])


def sendable(token: str) -> bool:
    """Whether a header can hold it and keeps it as it is: no header ends in a space, or has a megabyte."""
    return 0 < len(token) < 8192 and token.isprintable() and token == token.strip()


@pytest.fixture
def forge(stack: Stack, scene: Scene) -> Forge:
    person = scene.newcomer()
    sessions = body_of(person.api("GET", "/auth/sessions"))["items"]
    secret = json.loads((stack.data_dir / "secrets.json").read_text())["jwt"]
    return Forge(secret, UUID(account_of(person)["id"]), UUID(sessions[0]["id"]))


def statuses(scene: Scene, forge: Forge, cases: list[Case]) -> dict[str, int]:
    """What ml-service answers to each token that can be sent; 404 is for somebody it knows."""
    found = {}
    for case in cases:
        token = case.token(forge)
        if sendable(token):
            headers = [(b"Authorization", b"Bearer " + token.encode(errors="surrogatepass"))]
            answer = scene.nobody.http.get(f"{scene.ml_url}/models/unknown", headers=headers)
            found[case.name] = answer.status_code
    return found


class TestForgedTokens:
    def test_are_refused_by_ml_service(self, scene: Scene, forge: Forge) -> None:
        found = statuses(scene, forge, FORGED)

        assert len(found) > 200
        assert {name: status for name, status in found.items() if status != 401} == {}

    def test_are_told_from_good_ones(self, scene: Scene, forge: Forge) -> None:
        assert set(statuses(scene, forge, GOOD).values()) == {404}
