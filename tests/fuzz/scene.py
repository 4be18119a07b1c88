"""Who calls, and what is there for them to find: made afresh for each run, so that no run spoils another."""

import asyncio
import secrets
import time
from collections import defaultdict
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx2

from embedded import Platform
from ml_service.settings import Settings
from platform_kit.contract.artifact import Manifest
from platform_kit.contract.jobs import Claim, Outcome, Queue, TrainResult
from platform_kit.plumbing.object_store import ObjectStore
from tests.api_server.factories import CSV, Worker, profile_result
from tests.ml_service.serving.publishing import publish
from tests.verify.calling import Caller
from tests.verify.loop import body_of

ANONYMOUS, VIEWER, EDITOR, ADMIN = "anonymous", "viewer", "editor", "admin"
ROLES = {VIEWER: "user", EDITOR: "data_scientist", ADMIN: "admin"}
SPARE = 4
PATIENCE_SECONDS = 20
ROW = {"feature1": 0.5, "feature2": 1.2, "feature3": -0.3, "feature4": 2.0}
_MODEL = {"model_type": "classification", "framework": "lightgbm"}

Json = dict[str, Any]


@dataclass
class Scene:
    """headers: the credential. known: what there is, by the name of the parameter that asks for it; spare: likewise."""

    headers: dict[str, str]
    known: dict[str, list[Any]] = field(default_factory=lambda: defaultdict(list, version=[1]))
    spare: dict[str, list[Any]] = field(default_factory=lambda: defaultdict(list))


def make_scene(platform: Platform, actor: str) -> Scene:
    with _callers(platform) as new:
        admin, maker, caller = new(), new(), new()
        found = next(user for user in platform.credentials["users"] if user["role"] == "admin")
        admin.username, admin.password = found["username"], found["password"]
        body_of(admin.log_in())
        _register(maker)
        if actor == ANONYMOUS:
            scene = Scene(headers={})
        else:
            _register(caller)
            body_of(admin.api("PATCH", f"/users/{_id_of(caller)}", json={"role": ROLES[actor]}))
            scene = Scene(headers=caller.authorization())
            _add_own(caller, scene)
        _add_people(admin, new(), scene)
        project_id = _add_projects(maker, caller, scene, actor)
        _add_model(platform, maker, project_id, scene.known)
        _add_spare(maker, scene, project_id)
        _add_model(platform, maker, project_id, scene.spare)
        _add_jobs(maker, scene, project_id)
    return scene


@contextmanager
def _callers(platform: Platform) -> Iterator[Any]:
    made: list[Caller] = []

    def new() -> Caller:
        made.append(Caller(platform.api_url, platform.ml_url))
        return made[-1]

    try:
        yield new
    finally:
        for each in made:
            each.http.close()


def _register(caller: Caller) -> None:
    caller.username, caller.password = f"fuzz-{secrets.token_hex(5)}", secrets.token_urlsafe(16)
    login = {"username": caller.username, "password": caller.password}
    body_of(caller.api("POST", "/auth/register", json={"email": f"{caller.username}@example.com", **login}))
    body_of(caller.log_in())


def _id_of(caller: Caller) -> str:
    return str(body_of(caller.api("GET", "/auth/me"))["id"])


def _add_projects(maker: Caller, caller: Caller, scene: Scene, actor: str) -> str:
    """One of the maker's, with a viewer or editor as its member, and spare ones that the caller owns where it may."""
    project_id = _new_project(maker)
    owner = caller if actor == EDITOR else maker
    spare = [_new_project(owner) for _ in range(SPARE)]
    if actor in (VIEWER, EDITOR):
        _join(maker, project_id, caller.username, actor)
    for each, person in zip(spare, scene.spare["username"], strict=True):
        if actor == VIEWER:
            _join(maker, each, caller.username, actor)
        _join(owner, each, person, "viewer")
    # Nobody can put anything into it, so that it can be deleted.
    body_of(owner.api("PATCH", f"/projects/{spare[-1]}", json={"status": "archived"}))
    scene.known["project_id"], scene.spare["project_id"] = [project_id], spare
    return project_id


def _new_project(owner: Caller) -> str:
    return str(body_of(owner.api("POST", "/projects", json={"name": f"fuzz-{secrets.token_hex(5)}"}))["id"])


def _join(owner: Caller, project_id: str, username: str, role: str) -> None:
    body_of(owner.api("POST", f"/projects/{project_id}/members", json={"username": username, "role": role}))


def _add_model(platform: Platform, maker: Caller, project_id: str, found: dict[str, list[Any]]) -> None:
    """A dataset with a profile, and a model that is trained and served: ml-service's own demo, in a project."""
    dataset = _upload(maker, project_id)
    fields = {**_MODEL, "name": f"fuzz-{secrets.token_hex(5)}", "dataset_id": dataset["id"]}
    model = body_of(maker.api("POST", "/models", json=fields))
    asyncio.run(_work_off(platform, dataset["job_id"], model["job_id"]))
    deployed = body_of(maker.api("POST", f"/models/{model['id']}/deploy", json={}))
    _await(maker, deployed["endpoint"])
    found["dataset_id"].append(dataset["id"])
    found["model_id"].append(model["id"])
    found["name"].append(deployed["endpoint"])
    found["deployment_id"].append(deployed["deployment_id"])
    found["job_id"] += [dataset["job_id"], model["job_id"]]


def _await(maker: Caller, endpoint: str) -> None:
    deadline = time.monotonic() + PATIENCE_SECONDS
    while not maker.predict(endpoint, ROW).is_success:
        assert time.monotonic() < deadline, f"{endpoint} is not served"
        time.sleep(0.1)


async def _work_off(platform: Platform, profile_id: str, train_id: str) -> None:
    """Do these two jobs, and whatever has its turn before them."""
    headers = {"X-Internal-Token": platform.env["INTERNAL_TOKEN"]}
    async with httpx2.AsyncClient(base_url=f"{platform.api_url}/internal", headers=headers) as internal:
        worker = Worker(internal)
        for queue, job_id, result in (
            (Queue.DATA, profile_id, profile_result()),
            (Queue.ML, train_id, _train_result(platform)),
        ):
            done = ""
            while done != job_id:
                claim = Claim.model_validate_json((await worker.ask(queue)).content)
                await worker.finish(claim, Outcome.SUCCEEDED, result=result)
                done = str(claim.job_id)


def _train_result(platform: Platform) -> TrainResult:
    folder = Path(platform.env["ML_CACHE_DIR"]) / "demo" / "demo_model_1"
    values: Json = {name.lower(): value for name, value in platform.env.items()}
    store = ObjectStore.from_settings(Settings(**values))
    manifest = Manifest.model_validate_json((folder / "manifest.json").read_bytes())
    return TrainResult(manifest=manifest, manifest_ref=publish(store, folder))


def _upload(maker: Caller, project_id: str) -> Json:
    form = {"data": {"name": "people", "project_id": project_id}, "files": {"file": ("people.csv", CSV)}}
    found: Json = body_of(maker.api("POST", "/datasets", **form))
    return found


def _add_spare(maker: Caller, scene: Scene, project_id: str) -> None:
    for _ in range(SPARE):
        dataset = _upload(maker, project_id)
        fields = {**_MODEL, "name": f"spare-{secrets.token_hex(5)}", "project_id": project_id}
        model = body_of(maker.api("POST", "/models", json=fields))
        scene.spare["dataset_id"].append(dataset["id"])
        scene.spare["model_id"].append(model["id"])
        scene.spare["job_id"].append(dataset["job_id"])


def _add_jobs(maker: Caller, scene: Scene, project_id: str) -> None:
    """Two that wait, after all others were worked off, and one that was cancelled: the last of the spare ones."""
    job_ids = [_upload(maker, project_id)["job_id"] for _ in range(3)]
    body_of(maker.api("POST", f"/jobs/{job_ids[-1]}/cancel"))
    scene.spare["job_id"] += job_ids


def _add_people(admin: Caller, person: Caller, scene: Scene) -> None:
    for _ in range(SPARE):
        _register(person)
        scene.known["user_id"].append(_id_of(person))
        scene.spare["user_id"].append(_id_of(person))
        scene.spare["username"].append(person.username)
        invitation = body_of(admin.api("POST", "/invitations", json={}))
        scene.spare["invitation_id"].append(invitation["id"])


def _add_own(caller: Caller, scene: Scene) -> None:
    """What only its maker sees: keys, sessions, predictions."""
    for _ in range(SPARE):
        for found in (scene.known, scene.spare):
            key = body_of(caller.api("POST", "/api-keys", json={"name": "fuzz", "scopes": ["predict"]}))
            found["key_id"].append(key["id"])
        question = {"model_id": "demo_model_1", "input_data": ROW}
        scene.known["prediction_id"].append(
            body_of(caller.api("POST", "/predictions", json=question))["prediction_id"]
        )
    caller.log_in()
    sessions = body_of(caller.api("GET", "/auth/sessions"))["items"]
    scene.spare["session_id"] += [each["id"] for each in sessions if each["is_current"]]
