"""A job's events as they come, for one who keeps the connection open."""

import asyncio
from collections.abc import AsyncIterator
from uuid import UUID

from api_server.auth.actor import Actor
from api_server.auth.errors import NotSignedIn
from api_server.auth.identity import again
from api_server.database import AsyncSession, Sessions, transaction
from api_server.jobs import service
from api_server.jobs.errors import JobNotFound
from platform_kit.contract.artifact import canonical_json

POLL_SECONDS = 0.3
SILENCE_SECONDS = 15.0
"""A comment is sent this often, so that proxies do not end a quiet stream."""


async def follow(sessions: Sessions, actor: Actor, job_id: UUID, last_id: int) -> AsyncIterator[bytes]:
    """Replay what has happened, then wait for more.

    Ends when the job is over and all was told, or when the actor may not see it any more.
    """
    quiet = 0.0
    while True:
        async with transaction(sessions) as session:
            if not await _may_follow(session, actor, job_id):
                return
            found, is_over = await service.news(session, job_id, last_id)
        for event in found:
            last_id = event.id
            yield (
                f"id: {event.id}\nevent: {event.type}\ndata: ".encode() + canonical_json(event.body) + b"\n\n"
            )
        if not found and is_over:
            return
        quiet = 0.0 if found else quiet + POLL_SECONDS
        if quiet >= SILENCE_SECONDS:
            quiet = 0.0
            yield b": still here\n\n"
        await asyncio.sleep(POLL_SECONDS)


async def _may_follow(session: AsyncSession, actor: Actor, job_id: UUID) -> bool:
    try:
        await service.get(session, await again(session, actor), job_id)
    except (NotSignedIn, JobNotFound):
        return False
    return True
