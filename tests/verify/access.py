"""Who is calling, and what follows from it."""

import secrets
import time

from tests.verify.calling import Caller
from tests.verify.loop import Json
from tests.verify.registry import expect, expect_problem, expect_status, issues_of, promise
from tests.verify.scene import Scene, login

REVOKED_WITHIN_SECONDS = 2.0
UNKNOWN_MODEL = "/models/no-such-model"


@promise("S21", "anyone can register and log in, by user name or e-mail; nobody can choose a role")
def registration(scene: Scene) -> str:
    caller = scene.newcomer()
    me = expect_status(caller.api("GET", "/auth/me"), 200)
    expect(me["username"] == caller.username, f"/auth/me says {me['username']!r}")
    by_mail = {"username": me["email"], "password": caller.password}
    expect_status(scene.nobody.api("POST", "/auth/token", data=by_mail), 200)
    name = f"verify-{secrets.token_hex(5)}"
    account = {"username": name, "email": f"{name}@example.com", "password": secrets.token_urlsafe(16)}
    refused = expect_problem(
        scene.nobody.api("POST", "/auth/register", json={**account, "role": "admin"}), 422
    )
    expect(("role", "unknown_field") in issues_of(refused), f"`role` is not named: {issues_of(refused)}")
    expect_problem(scene.nobody.api("POST", "/auth/token", data=account), 401)
    expect(me["role"] != "admin", "a newcomer is an administrator")
    return f"a newcomer is {me['role']}; a registration with a role made no account"


@promise("S21", "a taken name is refused, and a wrong password gets the same answer as an unknown name")
def taken_and_wrong(scene: Scene) -> str:
    caller = scene.maker
    again = {**login(caller), "email": f"other-{secrets.token_hex(4)}@example.com"}
    expect_problem(scene.nobody.api("POST", "/auth/register", json=again), 409)
    answers = []
    for username in (caller.username, "nobody-of-this-name"):
        wrong = {"username": username, "password": "not the password"}
        problem = expect_problem(scene.nobody.api("POST", "/auth/token", data=wrong), 401)
        answers.append((problem["code"], problem["detail"]))
    expect(answers[0] == answers[1], "the answer tells whether the account exists")
    return f"409, and twice 401 {answers[0][0]}"


@promise("S20", "access and refresh tokens are not each other; a refresh gives a new pair")
def tokens(scene: Scene) -> str:
    caller = scene.newcomer()
    access, refresh = caller.tokens["access_token"], caller.tokens["refresh_token"]
    as_access = {"Authorization": f"Bearer {refresh}"}
    expect_problem(scene.nobody.api("GET", "/auth/me", headers=as_access), 401)
    expect_problem(scene.nobody.api("POST", "/auth/refresh", json={"refresh_token": access}), 401)
    pair = _refreshed(scene.nobody, refresh)
    expect(pair["refresh_token"] != refresh, "the refresh token was not replaced")
    caller.tokens = pair
    expect_status(caller.api("GET", "/auth/me"), 200)
    replayed = _refreshed(scene.nobody, refresh)
    expect(
        replayed["refresh_token"] == pair["refresh_token"],
        "a replay within 10 s made a second family of tokens",
    )
    forged = access[:-4] + ("AAAA" if access[-4:] != "AAAA" else "BBBB")
    expect_problem(scene.nobody.api("GET", "/auth/me", headers={"Authorization": f"Bearer {forged}"}), 401)
    return f"swapped and forged tokens 401; new pair for {pair['expires_in']} s, the same one on replay"


def _refreshed(caller: Caller, token: str) -> Json:
    pair: Json = expect_status(caller.api("POST", "/auth/refresh", json={"refresh_token": token}), 200)
    return pair


@promise("S22", "logout ends the session on both services")
def logout(scene: Scene) -> str:
    caller = scene.newcomer()
    expect_problem(caller.ml("GET", UNKNOWN_MODEL), 404)
    expect_status(caller.api("POST", "/auth/logout"), 204)
    expect_problem(caller.api("GET", "/auth/me"), 401)
    replay = {"refresh_token": caller.tokens["refresh_token"]}
    expect_problem(scene.nobody.api("POST", "/auth/refresh", json=replay), 401)
    seconds = _seconds_until_refused(caller)
    return f"api-server at once, ml-service after {seconds:.1f} s"


def _seconds_until_refused(caller: Caller) -> float:
    """Signed in, an unknown model is 404; with an ended session 401."""
    started = time.monotonic()
    while True:
        status = caller.ml("GET", UNKNOWN_MODEL).status_code
        seconds = time.monotonic() - started
        if status == 401:
            return seconds
        expect(
            seconds < REVOKED_WITHIN_SECONDS + 0.5, f"ml-service still answers {status} after {seconds:.1f} s"
        )
        time.sleep(0.1)


@promise("S25", "input is checked strictly: each wrong or unknown field is named, secrets are not repeated")
def strict_input(scene: Scene) -> str:
    body = {"username": "x", "email": "no address", "password": "short", "nickname": "Ada"}
    problem = expect_problem(scene.nobody.api("POST", "/auth/register", json=body), 422)
    named = {each["field"] for each in problem["errors"]}
    expect(named == {"username", "email", "password", "nickname"}, f"named are {sorted(named)}")
    expect(
        "short" not in [each.get("got", "").strip('"') for each in problem["errors"]],
        "the password is repeated",
    )
    return f"one answer names all of {', '.join(sorted(named))}"


@promise(
    "S68", "ml-service wants a credential for every model but the demo models; foreign models do not exist"
)
def ml_service_access(scene: Scene) -> str:
    row = scene.rows[0].features
    known, unknown = scene.model["endpoint"], "no-such-model"
    answers = [
        expect_problem(scene.nobody.predict(each, row), 401) for each in (known, scene.model["id"], unknown)
    ]
    details = {
        each["detail"].replace(known, "M").replace(scene.model["id"], "M").replace(unknown, "M")
        for each in answers
    }
    expect(len(details) == 1, f"anonymous answers differ between known and unknown models: {details}")
    bad = {"Authorization": "Bearer nonsense"}
    expect_problem(scene.nobody.ml("POST", f"/predict/{known}", json={"input_data": row}, headers=bad), 401)
    foreign = [expect_problem(scene.stranger.predict(each, row), 404)["code"] for each in (known, unknown)]
    expect(foreign[0] == foreign[1], f"foreign and unknown models are told apart: {foreign}")
    listed = expect_status(scene.stranger.ml("GET", "/models"), 200)["models"]
    expect(
        scene.model["id"] not in [each["model_id"] for each in listed],
        "a stranger sees the model in the list",
    )
    expect_status(scene.maker.predict(known, row), 200)
    return "nobody 401 (known = unknown), stranger 404 (known = unknown), owner 200"
