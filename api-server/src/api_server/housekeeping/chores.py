"""Each chore deletes what nobody needs any more and returns how much that was."""

from collections.abc import Awaitable, Callable, Mapping

from api_server import idempotency
from api_server.auth import accounts, sessions
from api_server.database import AsyncSession
from api_server.deployments import service as deployments
from api_server.jobs import service as jobs
from api_server.settings import Settings

EVENT_DAYS = 30

Chore = Callable[[AsyncSession, Settings], Awaitable[dict[str, int]]]


async def forget(session: AsyncSession, settings: Settings) -> dict[str, int]:
    """Expired sessions and tokens, old idempotency keys, events of jobs long over, replicas long gone."""
    return {
        "sessions": await sessions.forget_expired(session),
        "invitations_and_resets": await accounts.forget_spent(session),
        "idempotency_keys": await idempotency.forget_old(session, hours=settings.idempotency_hours),
        "job_events": await jobs.forget_events(session, days=EVENT_DAYS),
        "replicas": await deployments.forget_replicas(session),
    }


CHORES: Mapping[str, Chore] = {"forget": forget}
