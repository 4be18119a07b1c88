"""Makes the world: the accounts, the projects, what is in them, and the keys."""

from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

import httpx2
from sqlalchemy import update

from api_server.auth.models import ApiKey, User
from api_server.database import Sessions, transaction
from platform_kit.contract.access import Role
from platform_kit.contract.artifact import Manifest
from platform_kit.contract.jobs import TrainResult
from platform_kit.plumbing.object_store import ObjectStore
from tests.access.oracle import Actor, Whose
from tests.access.people import ACCOUNTS, ACTORS, FOREIGN, MAKERS, PLACES, TEAM
from tests.access.services import Services
from tests.access.things import FRESH, NOBODYS, PERSONAL
from tests.access.world import World
from tests.api_server.factories import PASSWORD
from tests.ml_service.serving.publishing import publish


async def build(services: Services, sessions: Sessions) -> World:
    world = World(services, sessions, _published(services))
    for account, (role, _) in ACCOUNTS.items():
        await _make_account(world, account, role)
    for place, account in PLACES.items():
        made = await world.call(account, "POST", "/projects", json={"name": world.name(account)})
        world.projects[place] = UUID(made["id"])
        await world.regroup(place)
    for whose, account in MAKERS.items():
        await _fill(world, whose, account, FOREIGN if whose is Whose.FOREIGN else TEAM)
    for account in ACCOUNTS:
        place = FOREIGN if account == "foreigner" else TEAM
        for kind in PERSONAL:
            world.belongings[kind, account] = await FRESH[kind](world, account, place)
    await _give_keys(world)
    await world.call("admin", "PATCH", f"/users/{world.user_ids['disabled']}", json={"is_active": False})
    return world


async def _make_account(world: World, account: str, role: Role) -> None:
    world.people[account] = httpx2.AsyncClient(base_url=world.services.api_url, timeout=30)
    name = world.username(account)
    body = {"email": f"{name}@example.com", "username": name, "password": PASSWORD}
    made = await world.call(account, "POST", "/auth/register", json=body)
    world.user_ids[account] = UUID(made["id"])
    async with transaction(world.sessions) as session:
        await session.execute(update(User).where(User.username == name).values(role=role))
    world.hold(account, await world.sign_in(account))


async def _fill(world: World, whose: Whose, account: str, place: str) -> None:
    dataset = await world.profiled(account, place)
    model = await world.served_model(account, place, dataset["id"])
    idle = await world.idle_model(account, place)
    found = {
        "project": str(world.projects[place]),
        "dataset": dataset["id"],
        "job": dataset["job_id"],
        "ended_job": await FRESH["ended_job"](world, account, place),
        "model": model["id"],
        "trained_model": model["id"],
        "idle_model": idle["id"],
        "deployment": model["deployment_id"],
        "endpoint": model["endpoint"],
        "served_endpoint": model["endpoint"],
        "user": str(world.user_ids[account]),
    }
    world.things |= {(kind, whose): ref for kind, ref in found.items()}
    world.things["stranger", whose] = str(world.user_ids["outsider" if whose is Whose.MATE else "throwaway"])
    for kind in NOBODYS:
        world.things[kind, whose] = await FRESH[kind](world, account, place)


async def _give_keys(world: World) -> None:
    world.headers["anonymous"] = {}
    for actor in ACTORS:
        if actor.scopes is None or actor.account is None:
            continue
        made = await world.key(actor.account, actor.scopes, **_limits(world, actor))
        world.headers[actor.name] = {"X-API-Key": made["secret"]}
        if actor.name.startswith("revoked"):
            await world.call(actor.account, "DELETE", f"/api-keys/{made['id']}")
        if actor.name.startswith("expired"):
            await _let_expire(world, UUID(made["id"]))


def _limits(world: World, actor: Actor) -> dict[str, Any]:
    limits: dict[str, Any] = {}
    if actor.bound_to:
        limits["project_id"] = str(world.projects[actor.bound_to])
    if actor.endpoint:
        limits["endpoint"] = world.things["endpoint", Whose.OWN]
    return limits


async def _let_expire(world: World, key_id: UUID) -> None:
    past = datetime.now(UTC) - timedelta(seconds=1)
    async with transaction(world.sessions) as session:
        await session.execute(update(ApiKey).where(ApiKey.id == key_id).values(expires_at=past))


def _published(services: Services) -> TrainResult:
    """A small model, trained for real."""
    folder = services.demo_folder / "demo_model_1"
    ref = publish(ObjectStore.from_settings(services.settings), folder)
    manifest = Manifest.model_validate_json((folder / "manifest.json").read_bytes())
    return TrainResult(manifest=manifest, manifest_ref=ref)
