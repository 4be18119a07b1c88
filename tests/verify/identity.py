"""What somebody may do, for how long, and what is written down about it."""

import secrets
import time

from tests.verify.access import REVOKED_WITHIN_SECONDS
from tests.verify.calling import Caller
from tests.verify.loop import Json
from tests.verify.registry import expect, expect_problem, expect_status, promise
from tests.verify.scene import Scene


@promise(
    "S23 S28", "roles decide: a user reads and predicts where invited, makes nothing, and administers nothing"
)
def roles(scene: Scene) -> str:
    admin, guest = scene.known("admin"), scene.newcomer()
    guest_id = expect_status(guest.api("GET", "/auth/me"), 200)["id"]
    expect_problem(guest.api("GET", "/users"), 403)
    expect_status(admin.api("PATCH", f"/users/{guest_id}", json={"role": "user"}), 200)
    expect_problem(guest.api("POST", "/projects", json={"name": "not for me"}), 403)
    project, endpoint = scene.model["project_id"], scene.model["endpoint"]
    expect_problem(guest.api("GET", f"/models/{scene.model['id']}"), 404)
    invited = {"username": guest.username, "role": "viewer"}
    expect_status(scene.maker.api("POST", f"/projects/{project}/members", json=invited), 201)
    expect_status(guest.api("GET", f"/models/{scene.model['id']}"), 200)
    seconds = _until(guest, endpoint, scene.rows[0].features, 200)
    expect_problem(guest.api("POST", f"/models/{scene.model['id']}/deploy"), 403)
    expect_status(scene.maker.api("DELETE", f"/projects/{project}/members/{guest_id}"), 204)
    expect_problem(guest.api("GET", f"/models/{scene.model['id']}"), 404)
    gone = _until(guest, endpoint, scene.rows[0].features, 404)
    return f"invited, may predict after {seconds:.1f} s; removed, no longer after {gone:.1f} s"


def _until(caller: Caller, endpoint: str, row: Json, status: int) -> float:
    started = time.monotonic()
    while (found := caller.predict(endpoint, row).status_code) != status:
        seconds = time.monotonic() - started
        expect(
            seconds < REVOKED_WITHIN_SECONDS + 0.5,
            f"ml-service answers {found}, not {status}, after {seconds:.1f} s",
        )
        time.sleep(0.05)
    return time.monotonic() - started


@promise(
    "S27", "everybody has a profile of their own to change; administrators list, change and disable accounts"
)
def profiles(scene: Scene) -> str:
    admin, caller = scene.known("admin"), scene.newcomer()
    changed = expect_status(caller.api("PATCH", "/auth/me", json={"full_name": "Ada L."}), 200)
    expect(changed["full_name"] == "Ada L.", f"the name is {changed['full_name']!r}")
    (found,) = expect_status(admin.api("GET", f"/users?q={caller.username}"), 200)["items"]
    expect(found["full_name"] == "Ada L.", "the administrator sees another name")
    expect_problem(caller.api("GET", f"/users/{found['id']}"), 403)
    expect_status(admin.api("PATCH", f"/users/{found['id']}", json={"is_active": False}), 200)
    expect_problem(caller.api("GET", "/auth/me"), 401)
    expect(caller.log_in().status_code == 401, "a disabled account can sign in")
    return "own name changed; disabled by an administrator: token and password refused at once"


@promise(
    "S29", "API keys: shown once, scoped, bound to a project, good on both services, and gone when revoked"
)
def api_keys(scene: Scene) -> str:
    body = {"name": "verify", "scopes": ["predict"], "project_id": scene.model["project_id"]}
    made = expect_status(scene.maker.api("POST", "/api-keys", json=body), 201)
    secret, path = made["secret"], f"/predict/{scene.model['endpoint']}"
    listed = scene.maker.api("GET", "/api-keys").text
    expect(secret not in listed, "the list of keys shows a secret")
    headers, row = {"X-API-Key": secret}, {"input_data": scene.rows[0].features}
    expect_status(scene.nobody.ml("POST", path, json=row, headers=headers), 200)
    expect_problem(scene.nobody.api("GET", "/projects", headers=headers), 403)
    expect_problem(scene.nobody.api("POST", "/api-keys", json=body, headers=headers), 403)
    expect_status(scene.maker.api("DELETE", f"/api-keys/{made['id']}"), 204)
    expect_problem(scene.nobody.api("GET", "/projects", headers=headers), 401)
    started = time.monotonic()
    while scene.nobody.ml("POST", path, json=row, headers=headers).status_code != 401:
        expect(
            time.monotonic() - started < REVOKED_WITHIN_SECONDS + 0.5, "ml-service still takes a revoked key"
        )
        time.sleep(0.05)
    return f"api-server at once, ml-service after {time.monotonic() - started:.1f} s"


@promise("S20 S22", "sessions are listed and ended, one or all; a new password ends the others")
def sessions(scene: Scene) -> str:
    caller = scene.newcomer()
    other = scene.anybody()
    other.username, other.password = caller.username, caller.password
    expect_status(other.log_in(), 200)
    listed = expect_status(caller.api("GET", "/auth/sessions"), 200)["items"]
    expect(len(listed) == 2, f"{len(listed)} sessions are listed, not 2")
    new = {"current_password": caller.password, "new_password": secrets.token_urlsafe(16)}
    expect_status(caller.api("POST", "/auth/password", json=new), 204)
    expect_problem(other.api("GET", "/auth/me"), 401)
    expect_status(caller.api("DELETE", "/auth/sessions"), 204)
    expect_problem(caller.api("GET", "/auth/me"), 401)
    return "two listed; the other ended with the new password, this one with all"


@promise("S24 S94", "answers say how many requests are left, and wrong passwords do not lock an owner out")
def limits(scene: Scene) -> str:
    caller = scene.newcomer()
    answer = caller.api("GET", "/projects")
    named = [
        each
        for each in ("RateLimit-Limit", "RateLimit-Remaining", "RateLimit-Reset")
        if each in answer.headers
    ]
    expect(len(named) == 3, f"only {named} are there")
    wrong = {"username": caller.username, "password": "not the password"}
    statuses = {scene.nobody.api("POST", "/auth/token", data=wrong).status_code for _ in range(20)}
    expect(statuses <= {401, 429}, f"guesses are answered {statuses}")
    expect_status(caller.log_in(), 200)
    return f"{answer.headers['RateLimit-Remaining']} of {answer.headers['RateLimit-Limit']} left; in after 20 guesses"


@promise(
    "S28", "every write and every refusal is in the audit log, with its request id; nobody else reads it"
)
def audit(scene: Scene) -> str:
    admin, caller = scene.known("admin"), scene.newcomer()
    written = caller.api("POST", "/projects", json={"name": f"verify-{secrets.token_hex(4)}"})
    refused = caller.api("GET", "/audit")
    expect_status(written, 201)
    expect_problem(refused, 403)
    for answer, outcome in ((written, "done"), (refused, "refused")):
        request_id = answer.headers["X-Request-ID"]
        found = expect_status(admin.api("GET", f"/audit?request_id={request_id}"), 200)["items"]
        outcomes = [each["outcome"] for each in found]
        expect(outcomes == [outcome], f"of request {request_id} the log says {outcomes}")
        expect(found[0]["username"] == caller.username, "the entry names somebody else")
    expect_status(caller.api("DELETE", f"/projects/{written.json()['id']}"), 204)
    return "a creation and a refusal found by their request ids"
