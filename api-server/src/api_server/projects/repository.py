from collections.abc import Sequence
from dataclasses import dataclass
from uuid import UUID

from sqlalchemy import (
    BigInteger,
    ColumnElement,
    FromClause,
    Integer,
    String,
    Uuid,
    column,
    func,
    literal,
    or_,
    select,
    table,
)
from sqlalchemy.ext.asyncio import AsyncSession

from api_server.audit_trail import DONE, AuditEntry
from api_server.auth.actor import Actor
from api_server.auth.models import ApiKey
from api_server.pagination import PageParams, Rows, fetch_page
from api_server.projects.access import visible_to
from api_server.projects.models import Project, ProjectMember
from api_server.projects.schemas import ProjectFilter
from platform_kit.contract.access import ProjectRole


async def find(session: AsyncSession, project_id: UUID) -> Project | None:
    return await session.get(Project, project_id)


async def find_visible(session: AsyncSession, actor: Actor, project_id: UUID) -> Project | None:
    return await session.scalar(
        select(Project).where(Project.id == project_id, visible_to(actor, Project.id))
    )


async def lock(session: AsyncSession, project_id: UUID, *, to_delete: bool = False) -> Project | None:
    """Have others who lock it wait. Rows that refer to it may still be added, unless it is to be deleted."""
    return await session.scalar(
        select(Project)
        .where(Project.id == project_id)
        .with_for_update(key_share=not to_delete)
        .execution_options(populate_existing=True)
    )


async def find_personal(session: AsyncSession, owner_id: UUID) -> Project | None:
    return await session.scalar(select(Project).where(Project.owner_id == owner_id, Project.is_personal))


async def roles(session: AsyncSession, user_id: UUID, project_ids: Sequence[UUID]) -> dict[UUID, ProjectRole]:
    found = await session.execute(
        select(ProjectMember.project_id, ProjectMember.role).where(
            ProjectMember.user_id == user_id, ProjectMember.project_id.in_(project_ids)
        )
    )
    return {project_id: ProjectRole(role) for project_id, role in found}


async def project_ids(session: AsyncSession, user_id: UUID) -> list[UUID]:
    found = await session.scalars(select(ProjectMember.project_id).where(ProjectMember.user_id == user_id))
    return list(found)


async def list_visible(
    session: AsyncSession, actor: Actor, filters: ProjectFilter, params: PageParams
) -> Rows[Project]:
    statement = select(Project).where(visible_to(actor, Project.id))
    if filters.status is not None:
        statement = statement.where(Project.status == filters.status)
    if filters.tag is not None:
        statement = statement.where(Project.tags.contains([filters.tag]))
    if filters.text is not None:
        statement = statement.where(_holds(filters.text))
    sortable = {"created_at": Project.created_at, "name": Project.name}
    return await fetch_page(session, statement, params, sortable=sortable, id_column=Project.id)


def _holds(wanted: str) -> ColumnElement[bool]:
    """Literally, whatever the case: `%` and `_` are letters like any other."""
    lowered = func.lower(wanted)
    tag = func.unnest(Project.tags).column_valued("tag")
    return or_(
        func.strpos(func.lower(Project.name), lowered) > 0,
        func.strpos(func.lower(Project.description), lowered) > 0,
        select(tag).where(func.strpos(func.lower(tag), lowered) > 0).exists(),
    )


async def find_member(session: AsyncSession, project_id: UUID, user_id: UUID) -> ProjectMember | None:
    return await session.get(ProjectMember, (project_id, user_id), populate_existing=True)


async def list_members(
    session: AsyncSession, project_id: UUID, role: ProjectRole | None, params: PageParams
) -> Rows[ProjectMember]:
    statement = select(ProjectMember).where(ProjectMember.project_id == project_id)
    if role is not None:
        statement = statement.where(ProjectMember.role == role)
    sortable = {"created_at": ProjectMember.created_at}
    return await fetch_page(session, statement, params, sortable=sortable, id_column=ProjectMember.user_id)


async def list_activity(
    session: AsyncSession, project_id: UUID, action: str | None, params: PageParams
) -> Rows[AuditEntry]:
    statement = select(AuditEntry).where(AuditEntry.project_id == project_id, AuditEntry.outcome == DONE)
    if action is not None:
        statement = statement.where(AuditEntry.action == action)
    # Entries are numbered as time goes by, and by its number an index finds the newest of a project.
    sortable = {"created_at": AuditEntry.seq}
    return await fetch_page(
        session, statement, params, sortable=sortable, id_column=AuditEntry.id, most_counted=0
    )


@dataclass(frozen=True)
class Contents:
    """How much of everything is in a project.

    jobs_at_once: that wait or run. Profiling is not one of them: it belongs to its dataset, and ends with it.
    """

    datasets: int
    dataset_bytes: int
    models: int
    deployed: int
    jobs_at_once: int
    members: int
    api_keys: int


# By name: the rooms that have these tables know this room, and not the other way round.
_DATASETS = table("datasets", column("id", Uuid), column("project_id", Uuid))
_VERSIONS = table("dataset_versions", column("dataset_id", Uuid), column("size_bytes", BigInteger))
_MODELS = table("models", column("project_id", Uuid), column("deployed_version", Integer))
_JOBS = table("jobs", column("project_id", Uuid), column("kind", String), column("status", String))
_MEMBERS, _KEYS = ProjectMember.__table__, ApiKey.__table__


async def contents(session: AsyncSession, project_id: UUID) -> Contents:
    counts = _counts(project_id)
    row = (await session.execute(select(*(each.label(name) for name, each in counts.items())))).one()
    return Contents(**row._mapping)


async def count(session: AsyncSession, project_id: UUID, what: str) -> int:
    """One of `Contents`: the others take their time, while others wait for the project's row."""
    return await session.scalar(select(_counts(project_id)[what])) or 0


def _counts(project_id: UUID) -> dict[str, ColumnElement[int]]:
    def rows(of: FromClause, *where: ColumnElement[bool]) -> ColumnElement[int]:
        found = select(func.count()).select_from(of).where(of.c.project_id == project_id, *where)
        return found.scalar_subquery()

    sizes = (
        select(func.coalesce(func.sum(_VERSIONS.c.size_bytes), 0).cast(BigInteger))
        .select_from(_VERSIONS.join(_DATASETS, _DATASETS.c.id == _VERSIONS.c.dataset_id))
        .where(_DATASETS.c.project_id == project_id)
    )
    has_not_ended = or_(_KEYS.c.expires_at.is_(None), _KEYS.c.expires_at > func.now())
    return {
        "datasets": rows(_DATASETS),
        "dataset_bytes": sizes.scalar_subquery(),
        "models": rows(_MODELS),
        "deployed": rows(_MODELS, _MODELS.c.deployed_version.is_not(None)),
        "jobs_at_once": rows(_JOBS, *_are("queued")) + rows(_JOBS, *_are("running")),
        "members": rows(_MEMBERS),
        "api_keys": rows(_KEYS, _KEYS.c.revoked_at.is_(None), has_not_ended),
    }


def _are(status: str) -> tuple[ColumnElement[bool], ColumnElement[bool]]:
    """A literal, so that the index of just these jobs serves."""
    return _JOBS.c.status == literal(status, literal_execute=True), _JOBS.c.kind != "profile"
