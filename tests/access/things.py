"""What requests are about: what stands there all the time, and how one more of a kind is made."""

from collections.abc import Awaitable, Callable
from datetime import UTC, datetime, timedelta
from uuid import uuid4

from api_server.auth.models import Session
from api_server.database import transaction
from api_server.predictions.models import PredictionRecord
from platform_kit.contract.access import Scope
from tests.access.asks import ROW
from tests.access.oracle import Actor, Thing, Whose
from tests.access.people import CANARY, FOREIGN, MAKERS, TEAM
from tests.access.world import World

Maker = Callable[[World, str, str], Awaitable[str]]
"""Makes one for an account, in a place; returns what names it."""


def find(world: World, kind: str, whose: Whose, actor: Actor) -> Thing:
    account, place = account_of(kind, whose, actor), _place_of(whose)
    if whose is Whose.RANDOM:
        ref = f"no-such-{uuid4().hex[:8]}" if "endpoint" in kind else str(uuid4())
    elif kind in PERSONAL:
        ref = world.belongings[kind, account]
    else:
        ref = world.things[kind, whose]
    return Thing(ref, whose, place, account)


async def fresh(world: World, kind: str, whose: Whose, actor: Actor) -> Thing:
    account, place = account_of(kind, whose, actor), _place_of(whose)
    return Thing(await FRESH[kind](world, account, place), whose, place, account)


def account_of(kind: str, whose: Whose, actor: Actor) -> str:
    """Whose a personal thing is: `own` means the caller's, `a mate's` somebody else's of the team."""
    if kind not in PERSONAL:
        return MAKERS.get(whose, "owner")
    own = actor.account or "owner"
    mate = "editor" if own == "owner" else "owner"
    return {Whose.OWN: own, Whose.MATE: mate}.get(whose, "foreigner")


def _place_of(whose: Whose) -> str:
    return FOREIGN if whose is Whose.FOREIGN else TEAM


async def _job(world: World, account: str, place: str) -> str:
    return str((await world.dataset(account, place))["job_id"])


async def _ended_job(world: World, account: str, place: str) -> str:
    job_id = await _job(world, account, place)
    await world.call(account, "POST", f"/jobs/{job_id}/cancel")
    return job_id


async def _dataset(world: World, account: str, place: str) -> str:
    return str((await world.dataset(account, place))["id"])


async def _model(world: World, account: str, place: str) -> str:
    return str((await world.idle_model(account, place))["id"])


async def _trained_model(world: World, account: str, place: str) -> str:
    return str((await world.trained_model(account, place, world.dataset_of(account)))["id"])


async def _served_endpoint(world: World, account: str, place: str) -> str:
    return str((await world.served_model(account, place, world.dataset_of(account)))["endpoint"])


async def _session(world: World, account: str, place: str) -> str:
    """As after one more sign-in."""
    session_id, end = uuid4(), datetime.now(UTC) + timedelta(hours=1)
    async with transaction(world.sessions) as session:
        session.add(Session(id=session_id, user_id=world.user_ids[account], expires_at=end))
    return str(session_id)


async def _key(world: World, account: str, place: str) -> str:
    return str((await world.key(account, frozenset({Scope.READ})))["id"])


async def _prediction(world: World, account: str, place: str) -> str:
    model = world.things["model", Whose.FOREIGN if place == FOREIGN else Whose.OWN]
    record_id = uuid4()
    row = {**ROW, CANARY if account == "foreigner" else "note": 1}
    metadata = {"model_version": 1, "digest": "0" * 64, "cache_used": False, "warnings": []}
    kept = {
        **{"model_id": model, "prediction": 1, "confidence_score": 0.9, "probabilities": None},
        **{"processing_time": 1.0, "timestamp": "2026-01-01T00:00:00Z", "prediction_id": str(record_id)},
        "metadata": metadata,
    }
    async with transaction(world.sessions) as session:
        session.add(
            PredictionRecord(
                id=record_id,
                user_id=world.user_ids[account],
                model_id=model,
                model_version=1,
                input_data=row,
                answer=kept,
            )
        )
    return str(record_id)


async def _invitation(world: World, account: str, place: str) -> str:
    body = {"email": f"{world.name(account)}@example.com"}
    return str((await world.call("admin", "POST", "/invitations", json=body))["id"])


async def _refresh_token(world: World, account: str, place: str) -> str:
    return (await world.sign_in("throwaway"))["refresh_token"]


async def _reset_token(world: World, account: str, place: str) -> str:
    path = f"/users/{world.user_ids['throwaway']}/password-reset"
    return str((await world.call("admin", "POST", path))["token"])


async def _account(world: World, account: str, place: str) -> str:
    return str(world.user_ids[account])


NOBODYS = ("invitation", "refresh_token", "reset_token")
PERSONAL = ("session", "api_key", "prediction", "account")
FRESH: dict[str, Maker] = {
    "account": _account,
    "api_key": _key,
    "dataset": _dataset,
    "ended_job": _ended_job,
    "idle_model": _model,
    "invitation": _invitation,
    "job": _job,
    "model": _model,
    "prediction": _prediction,
    "refresh_token": _refresh_token,
    "reset_token": _reset_token,
    "served_endpoint": _served_endpoint,
    "session": _session,
    "trained_model": _trained_model,
}
