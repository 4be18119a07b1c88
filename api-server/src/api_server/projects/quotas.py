"""How much a project may hold.

What is asked for is counted with the project's row held until it is there, so that of two requests one gets the last
place. Lock order: a dataset's or a model's row, then its project's, then a deployment's.
"""

from enum import StrEnum
from uuid import UUID

from api_server.audit_trail import Deed, record
from api_server.auth.actor import Actor
from api_server.auth.permissions import Action
from api_server.database import AsyncSession
from api_server.projects import repository, service
from api_server.projects.errors import ProjectNotFound, QuotaExceeded, TooManyJobs
from api_server.projects.models import Project
from api_server.projects.repository import Contents
from api_server.projects.schemas import QuotasIn, QuotaUse, UsageOut
from api_server.settings import Settings
from platform_kit.plumbing.problems import Problem

RETRY_SECONDS = 10


class Quota(StrEnum):
    DATASET_BYTES = "dataset_bytes"
    MODELS = "models"
    JOBS_AT_ONCE = "jobs_at_once"


async def require_room(
    session: AsyncSession, project_id: UUID, quota: Quota, *, usual: int, more: int = 1
) -> None:
    """Raise QuotaExceeded or TooManyJobs unless `more` still fits, and keep the place until this transaction ends.

    usual: the limit that the settings give a project without one of its own.
    """
    await _require(session, await repository.lock(session, project_id), quota, usual=usual, more=more)


async def require_likely_room(
    session: AsyncSession, project_id: UUID, quota: Quota, *, usual: int, more: int
) -> None:
    """The same as a first look, before much work is done: it keeps no place."""
    await _require(session, await repository.find(session, project_id), quota, usual=usual, more=more)


async def usage(session: AsyncSession, actor: Actor, project_id: UUID, settings: Settings) -> UsageOut:
    project = await service.require(session, actor, project_id, Action.PROJECT_READ)
    return await _usage(session, project, settings)


async def change(
    session: AsyncSession, actor: Actor, project_id: UUID, body: QuotasIn, settings: Settings
) -> UsageOut:
    """Give a project quotas of its own; what it has beyond them it keeps."""
    project = await service.hold(session, actor, project_id, Action.PROJECT_QUOTA)
    for name, limit in body.model_dump().items():
        setattr(project, f"quota_{name}", limit)
    await session.flush()
    details = {"name": project.name, **body.model_dump()}
    deed = Deed(Action.PROJECT_QUOTA, "project", str(project.id), project_id=project.id, details=details)
    record(session, actor.who, deed)
    return await _usage(session, project, settings)


async def _require(
    session: AsyncSession, project: Project | None, quota: Quota, *, usual: int, more: int
) -> None:
    if project is None:
        raise ProjectNotFound
    limit, used = _limit(project, quota, usual), await repository.count(session, project.id, quota)
    if used + more > limit:
        raise _refusal(quota, used=used, limit=limit, more=more)


async def _usage(session: AsyncSession, project: Project, settings: Settings) -> UsageOut:
    contents = await repository.contents(session, project.id)

    def use(quota: Quota, usual: int) -> QuotaUse:
        return QuotaUse(used=_used(contents, quota), limit=_limit(project, quota, usual))

    return UsageOut(
        dataset_bytes=use(Quota.DATASET_BYTES, settings.quota_dataset_bytes),
        models=use(Quota.MODELS, settings.quota_models),
        jobs_at_once=use(Quota.JOBS_AT_ONCE, settings.quota_jobs_at_once),
    )


def _limit(project: Project, quota: Quota, usual: int) -> int:
    own: int | None = getattr(project, f"quota_{quota}")
    return usual if own is None else own


def _used(contents: Contents, quota: Quota) -> int:
    return int(getattr(contents, quota))


def _refusal(quota: Quota, *, used: int, limit: int, more: int) -> Problem:
    match quota:
        case Quota.DATASET_BYTES:
            return QuotaExceeded(
                f"The project's datasets take {used} of {limit} bytes, and this needs {more} more: delete datasets "
                "that nobody needs, or ask an administrator for a larger quota."
            )
        case Quota.MODELS:
            return QuotaExceeded(
                f"The project has {used} models of the {limit} it may have: delete one that nobody needs, or ask an "
                "administrator for a larger quota."
            )
        case Quota.JOBS_AT_ONCE:
            return TooManyJobs(
                f"{used} jobs of the project wait or run, of the {limit} it may have at once: try again when one is "
                "over, cancel one, or ask an administrator for a larger quota.",
                retry_after_seconds=RETRY_SECONDS,
            )
