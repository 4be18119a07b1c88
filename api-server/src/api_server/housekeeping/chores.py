"""What is done at times: each chore removes or measures something, and says how much that was."""

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass

from api_server import idempotency
from api_server.auth import accounts, sessions
from api_server.database import AsyncSession, Sessions
from api_server.deployments import service as deployments
from api_server.housekeeping import figures
from api_server.housekeeping.sweep import Sweep
from api_server.jobs import service as jobs
from api_server.settings import Settings
from platform_kit.plumbing.object_store import ObjectStore

Counts = dict[str, int]
Say = Callable[[float, str], None]
"""Tells how far it is, in percent, and what is being done."""
Step = Callable[[AsyncSession, Settings], Awaitable[int]]


@dataclass(frozen=True)
class Place:
    """Where a chore is done."""

    sessions: Sessions
    store: ObjectStore
    settings: Settings


@dataclass(frozen=True)
class AtOnce:
    """Touches the database alone: all steps and the job's end are one transaction, so that it is done once."""

    steps: Mapping[str, Step]

    async def run(self, session: AsyncSession, settings: Settings, say: Say) -> Counts:
        counts: Counts = {}
        for number, (name, step) in enumerate(self.steps.items()):
            say(100 * number / len(self.steps), name)
            counts[name] = await step(session, settings)
        return counts


@dataclass(frozen=True)
class InSteps:
    """Works in small steps of its own, and may be begun again at any of them."""

    run: Callable[[Place, Say], Awaitable[Counts]]


@dataclass(frozen=True)
class Chore:
    does: str
    work: AtOnce | InSteps
    interval_seconds: Callable[[Settings], float] = lambda settings: settings.housekeeping_interval_seconds


async def _orphaned_objects(place: Place, say: Say) -> Counts:
    grace_seconds = place.settings.orphan_grace_seconds
    found = await Sweep(place.sessions, place.store, grace_seconds=grace_seconds, stage=say).run()
    return found.counts()


CHORES: Mapping[str, Chore] = {
    "expired_sessions": Chore(
        "Forgets sessions that have run out, with their refresh tokens, and spent invitations and password resets",
        AtOnce(
            {
                "sessions": lambda session, _: sessions.forget_expired(session),
                "invitations_and_resets": lambda session, _: accounts.forget_spent(session),
            }
        ),
    ),
    "stale_entries": Chore(
        "Forgets old idempotency keys, and replicas of ml-service that are gone",
        AtOnce(
            {
                "idempotency_keys": lambda session, settings: idempotency.forget_old(
                    session, hours=settings.idempotency_hours
                ),
                "replicas": lambda session, _: deployments.forget_replicas(session),
            }
        ),
    ),
    "old_logs": Chore(
        "Forgets the events of jobs that ended more than JOB_LOG_DAYS ago, and such jobs of housekeeping themselves",
        AtOnce(
            {
                "job_events": lambda session, settings: jobs.forget_events(
                    session, days=settings.job_log_days
                ),
                "housekeeping_jobs": lambda session, settings: jobs.forget_housekeeping(
                    session, days=settings.job_log_days
                ),
            }
        ),
    ),
    "orphaned_objects": Chore(
        "Deletes objects that nothing refers to and that are older than ORPHAN_GRACE_SECONDS; counts missing ones",
        InSteps(_orphaned_objects),
        lambda settings: settings.orphans_interval_seconds,
    ),
    "platform_figures": Chore(
        "Counts what the platform has and does, for /metrics and the dashboards",
        AtOnce({"figures": lambda session, _: figures.measure(session)}),
        lambda settings: settings.figures_interval_seconds,
    ),
}
