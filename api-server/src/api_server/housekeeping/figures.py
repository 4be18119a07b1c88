"""What the platform has and does, in counts that are too dear for each scrape: a chore measures them into a table, and
each web process reads that now and then and shows it to Prometheus.
"""

import asyncio
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from itertools import product

import structlog
from prometheus_client import REGISTRY
from prometheus_client.core import GaugeMetricFamily
from prometheus_client.registry import Collector

from api_server.database import AsyncSession, DatabaseUnavailable, Sessions, transaction
from api_server.housekeeping import repository
from platform_kit.contract.jobs import JobKind, JobStatus, Queue

READ_SECONDS = 15.0
MEASURED = "mlp_figures_measured_timestamp_seconds"
MEASURED_HELP = "When the figures of the platform were measured; if this stands still, so do they"

log = structlog.get_logger(__name__)


@dataclass(frozen=True)
class Figure:
    """sql: gives the values of the labels, then the number. labels: all values of each; what is not found is 0."""

    name: str
    help: str
    sql: str
    labels: Mapping[str, Sequence[str]] = field(default_factory=dict)


_RECENT = "now() - interval '24 hours'"

FIGURES = (
    Figure("mlp_users", "Accounts that are not disabled", "SELECT count(*) FROM users WHERE is_active"),
    Figure(
        "mlp_active_users",
        "Accounts that signed in, or whose API key was used, in the last 24 hours",
        f"SELECT count(*) FROM users u WHERE last_login_at > {_RECENT} OR EXISTS"  # noqa: S608  # nothing from outside
        f" (SELECT FROM api_keys k WHERE k.user_id = u.id AND k.last_used_at > {_RECENT})",
    ),
    Figure("mlp_projects", "Projects", "SELECT count(*) FROM projects"),
    Figure("mlp_datasets", "Datasets", "SELECT count(*) FROM datasets"),
    Figure(
        "mlp_dataset_bytes",
        "Bytes of all versions of datasets",
        "SELECT coalesce(sum(size_bytes), 0) FROM dataset_versions",
    ),
    Figure("mlp_models", "Models", "SELECT count(*) FROM models"),
    Figure(
        "mlp_deployed_models",
        "Models of which a version is deployed",
        "SELECT count(*) FROM models WHERE deployed_version IS NOT NULL",
    ),
    Figure(
        "mlp_recent_predictions",
        "Predictions of the last 24 hours that were asked of the API, which keeps them",
        f"SELECT count(*) FROM predictions WHERE created_at > {_RECENT}",  # noqa: S608
    ),
    Figure(
        "mlp_recent_jobs",
        "Jobs that were submitted in the last 24 hours",
        f"SELECT kind, status, count(*) FROM jobs WHERE created_at > {_RECENT} GROUP BY kind, status",  # noqa: S608
        {"kind": list(JobKind), "status": list(JobStatus)},
    ),
    Figure(
        "mlp_oldest_waiting_job_seconds",
        "Age of the oldest job that waits for nothing but a worker; 0: none waits",
        "SELECT queue, extract(epoch FROM now() - min(created_at)) FROM jobs WHERE status = 'queued'"
        " AND waits_for IS NULL AND (not_before IS NULL OR not_before <= now()) GROUP BY queue",
        {"queue": list(Queue)},
    ),
)


async def measure(session: AsyncSession) -> int:
    """Count everything anew; returns how many numbers that are."""
    found: dict[str, float] = {}
    for figure in FIGURES:
        found |= {"/".join((figure.name, *each)): 0.0 for each in product(*figure.labels.values())}
        for *labels, value in await repository.ask(session, figure.sql):
            found["/".join((figure.name, *labels))] = float(value)
    await repository.write_figures(session, found)
    return len(found)


class FigureBoard(Collector):
    """Shows what was read last, and before the first time nothing; a scrape asks no database."""

    def __init__(self) -> None:
        self._values: Mapping[str, float] = {}
        self._measured_at: datetime | None = None

    def put(self, values: Mapping[str, float], measured_at: datetime | None) -> None:
        self._values, self._measured_at = values, measured_at

    def collect(self) -> Iterator[GaugeMetricFamily]:
        if self._measured_at is None:
            return
        yield GaugeMetricFamily(MEASURED, MEASURED_HELP, value=self._measured_at.timestamp())
        for figure in FIGURES:
            yield _family(figure, self._values.items())


def _family(figure: Figure, values: Iterable[tuple[str, float]]) -> GaugeMetricFamily:
    family = GaugeMetricFamily(figure.name, figure.help, labels=list(figure.labels))
    for name, value in values:
        metric, *labels = name.split("/")
        if metric == figure.name and len(labels) == len(figure.labels):
            family.add_metric(labels, value)
    return family


BOARD = FigureBoard()
REGISTRY.register(BOARD)


async def keep_showing(sessions: Sessions) -> None:
    """Read the figures now and then, until cancelled; what keeps one reading from working may be gone at the next."""
    while True:
        try:
            async with transaction(sessions) as session:
                BOARD.put(*await repository.read_figures(session))
        except DatabaseUnavailable:
            log.warning("figures.not_read", reason="database_unavailable")
        except Exception:  # the edge of a task that nobody waits for
            log.exception("figures.not_read")
        await asyncio.sleep(READ_SECONDS)
