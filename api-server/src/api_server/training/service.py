from typing import Any
from uuid import UUID

from api_server.audit_trail import record
from api_server.auth.actor import Actor
from api_server.auth.permissions import Action
from api_server.database import AsyncSession
from api_server.datasets import service as datasets
from api_server.datasets.errors import DatasetNotReady
from api_server.datasets.models import DatasetStatus, DatasetVersion
from api_server.jobs import service as jobs
from api_server.jobs.models import Job
from api_server.jobs.schemas import JobOptions
from api_server.jobs.service import Work
from api_server.projects import service as projects
from api_server.projects.config import TrainingDefaults, with_one_seed
from api_server.projects.models import Project
from api_server.registry import service as registry
from api_server.registry.models import Model, ModelStatus
from api_server.registry.service import NewModel
from api_server.settings import Settings
from api_server.training.errors import (
    AlgorithmUnknown,
    NothingToTrainOn,
    ParametersInvalid,
    TargetMissing,
    TargetUnusable,
)
from api_server.training.schemas import NewModelIn, TrainIn
from platform_kit.contract.algorithms import (
    Algorithm,
    Framework,
    UnknownAlgorithm,
    check_parameters,
    default_algorithm,
    find_algorithm,
)
from platform_kit.contract.artifact import Task
from platform_kit.contract.jobs import JobKind
from platform_kit.contract.problem import Issue, IssueCode
from platform_kit.contract.schema import Column, DatasetStatistics

DEFAULT_TARGET = "target"


async def create_model(session: AsyncSession, actor: Actor, body: NewModelIn, settings: Settings) -> Model:
    """Register a model and, given a dataset, start its first training, in one transaction."""
    project = await _project(session, actor, body)
    await _look_at(session, actor, body.dataset_id)
    new = _new_model(body, await projects.training_defaults(session, project.id))
    model = await registry.create(session, actor, project, new, quota_models=settings.quota_models)
    if body.dataset_id is not None:
        await _start(session, actor, model, version=None, options=body.job, settings=settings)
    told = {"algorithm": model.algorithm, "job_id": str(model.job_id) if model.job_id else None}
    record(session, actor.who, registry.deed(Action.MODEL_CREATE, model, **told))
    return model


async def train(
    session: AsyncSession, actor: Actor, model_id: UUID, body: TrainIn, settings: Settings
) -> Job:
    """Train the next version; what the request leaves out is as it was the last time."""
    model = await registry.require(session, actor, model_id, Action.MODEL_TRAIN)
    await _look_at(session, actor, body.dataset_id)
    framework, task = Framework(model.framework), Task(model.model_type)
    algorithm = _algorithm(body.algorithm or model.algorithm, framework, task)
    defaults = await projects.training_defaults(session, model.project_id)
    last = model.parameters if algorithm.name == model.algorithm else _seed_of(model.parameters)
    below = defaults.parameters_for(algorithm.name) | last
    model.parameters = _parameters(algorithm, body.parameters or {}, below)
    model.algorithm = algorithm.name
    model.dataset_id = body.dataset_id or model.dataset_id
    model.target = body.target or model.target
    if body.preprocessing is not None:
        model.preprocessing = body.preprocessing
    version = body.dataset_version
    job = await _start(session, actor, model, version=version, options=body.job, settings=settings)
    told = {"algorithm": model.algorithm, "job_id": str(job.id)}
    record(session, actor.who, registry.deed(Action.MODEL_TRAIN, model, **told))
    return job


async def _start(
    session: AsyncSession,
    actor: Actor,
    model: Model,
    *,
    version: int | None,
    options: JobOptions,
    settings: Settings,
) -> Job:
    jobs.require_within_limits(options, settings, pointer="/job")
    if model.dataset_id is None:
        raise NothingToTrainOn("The model has no dataset yet; send `dataset_id`.")
    dataset, named = await datasets.get_version(session, actor, model.dataset_id, version)
    # Held, so that it does not become ready unnoticed while this job begins to wait for it.
    found = await datasets.hold_version(session, named.id) or named
    status = DatasetStatus(found.status)
    if not status.is_coming and status is not DatasetStatus.READY:
        why = (found.error or {}).get("detail", "")
        raise DatasetNotReady(
            f"Version {found.version} of {dataset.name!r} is {status}: {why} Upload a corrected one."
        )
    defaults = await projects.training_defaults(session, model.project_id)
    model.target = model.target or defaults.target or DEFAULT_TARGET
    if status is DatasetStatus.READY:
        _check_target(model.target, Task(model.model_type), found)
    job = await jobs.submit(
        session,
        work=Work(
            kind=JobKind.TRAIN,
            subject_id=model.id,
            project_id=model.project_id,
            created_by=actor.user_id,
            request=_request(model, found),
            model_id=model.id,
            dataset_id=dataset.id,
            options=options,
        ),
        max_attempts=settings.job_max_attempts,
        waits_for=found.id if status.is_coming else None,
        most_at_once=settings.quota_jobs_at_once,
    )
    model.job_id, model.status, model.error = job.id, ModelStatus.TRAINING, None
    await session.flush()
    return job


def _request(model: Model, version: DatasetVersion) -> dict[str, Any]:
    """All that decides the training, so that a later change of the model does not change a waiting job."""
    return {
        "model_id": str(model.id),
        "dataset_version_id": str(version.id),
        "framework": model.framework,
        "task": model.model_type,
        "algorithm": model.algorithm,
        "parameters": model.parameters,
        "preprocessing": model.preprocessing,
        "target": model.target,
    }


def _algorithm(name: str | None, framework: Framework, task: Task) -> Algorithm:
    wanted = name or default_algorithm(framework)
    try:
        return find_algorithm(wanted, framework=framework, task=task)
    except UnknownAlgorithm as error:
        issue = Issue(
            pointer="/algorithm", field="algorithm", code=IssueCode.UNKNOWN_VALUE, expected=str(error)
        )
        raise AlgorithmUnknown(str(error), errors=[issue]) from None


def _new_model(body: NewModelIn, defaults: TrainingDefaults) -> NewModel:
    wanted = body.algorithm or defaults.algorithm_for(body.framework, body.model_type)
    algorithm = _algorithm(wanted, body.framework, body.model_type)
    preprocessing = body.preprocessing
    if preprocessing is None:
        preprocessing = defaults.preprocessing_asked()
    return NewModel(
        name=body.name,
        description=body.description,
        tags=body.tags,
        framework=body.framework,
        model_type=body.model_type,
        algorithm=algorithm.name,
        parameters=_parameters(algorithm, body.parameters, defaults.parameters_for(algorithm.name)),
        preprocessing=preprocessing,
        dataset_id=body.dataset_id,
        target=body.target,
    )


def _seed_of(parameters: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in parameters.items() if name == "seed"}


def _parameters(algorithm: Algorithm, given: dict[str, Any], below: dict[str, Any]) -> dict[str, Any]:
    """Every parameter with its value: as given, else from what lies below, else the library's."""
    _require_valid(algorithm, check_parameters(algorithm, given)[2])
    taken = {"seed", *(each.name for each in algorithm.parameters)}
    known = {name: value for name, value in below.items() if name in taken}  # the catalogue may have changed
    values, seed, issues = check_parameters(algorithm, known | with_one_seed(given))
    _require_valid(algorithm, issues)
    return {**values, "seed": seed}


def _require_valid(algorithm: Algorithm, issues: list[Issue]) -> None:
    if issues:
        named = ", ".join(each.field or "" for each in issues)
        valid = ", ".join([each.name for each in algorithm.parameters] + ["seed"])
        raise ParametersInvalid(
            f"{algorithm.name} cannot take {named} as sent; its parameters are: {valid}.", errors=issues
        )


async def _look_at(session: AsyncSession, actor: Actor, dataset_id: UUID | None) -> None:
    """Raises DatasetNotFound, before a model names what is not there or not the actor's to see."""
    if dataset_id is not None:
        await datasets.get(session, actor, dataset_id)


async def _project(session: AsyncSession, actor: Actor, body: NewModelIn) -> Project:
    if body.project_id is not None:
        return await projects.require(session, actor, body.project_id, Action.MODEL_CREATE)
    if body.dataset_id is None:
        return await projects.personal(session, actor, Action.MODEL_CREATE)
    dataset, _ = await datasets.get(session, actor, body.dataset_id)
    return await projects.require(session, actor, dataset.project_id, Action.MODEL_CREATE)


def _check_target(target: str, task: Task, version: DatasetVersion) -> None:
    """Say at once what the worker would say later, as far as the profile shows it."""
    columns = [Column.model_validate(each) for each in version.columns or []]
    column = next((each for each in columns if each.name == target), None)
    if column is None:
        names = ", ".join(each.name for each in columns)
        issue = Issue(
            pointer="/target", field="target", code=IssueCode.UNKNOWN_VALUE, expected=f"one of: {names}"
        )
        raise TargetMissing(
            f"The dataset has no column {target!r}; name one of its columns as `target`: {names}.",
            errors=[issue],
        )
    statistics = DatasetStatistics.model_validate(version.statistics).columns[target]
    if statistics.count == 0:
        raise TargetUnusable(f"Column {target!r} has no values; there is nothing to learn.")
    if task is Task.REGRESSION and not column.type.is_numeric:
        raise TargetUnusable(
            f"Column {target!r} is {column.type}; regression needs integer or decimal values."
        )
    if task is Task.CLASSIFICATION and statistics.distinct < 2:
        raise TargetUnusable(f"Column {target!r} has one class only; classification needs at least two.")
