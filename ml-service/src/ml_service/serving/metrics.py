"""Prometheus metrics of serving. Labels are models and versions that are deployed: a bounded set."""

from functools import lru_cache

from prometheus_client import Counter, Gauge, Histogram

SECONDS = (0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10)

PREDICTIONS = Counter("mlp_predictions", "Requests for predictions", ["model", "version", "outcome"])
ROWS = Counter("mlp_prediction_rows", "Rows that were answered", ["model", "version"])
DURATION = Histogram(
    "mlp_prediction_duration_seconds", "From the request to its answer", ["model", "version"], buckets=SECONDS
)
LOADED = Gauge("mlp_model_cache_entries", "Versions in memory")
LOADED_BYTES = Gauge("mlp_model_cache_bytes", "About how much memory they take")
SHED = Counter(
    "mlp_predictions_shed", "Requests refused because more was asked than could be answered", ["reason"]
)
CACHE = Counter("mlp_prediction_cache_rows", "Rows looked up in the prediction cache", ["result"])
CACHE_HITS, CACHE_MISSES = CACHE.labels(result="hit"), CACHE.labels(result="miss")
CACHE_DEGRADED = Counter("mlp_prediction_cache_degraded", "Questions that Redis did not answer in time")
CACHE_FORGERIES = Counter("mlp_prediction_cache_forgeries", "Entries in Redis that no process of ours wrote")
LOAD_SECONDS = Histogram("mlp_model_load_duration_seconds", "Fetching, verifying and loading", ["framework"])
LOAD_FAILURES = Counter("mlp_model_load_failures", "Versions that could not be loaded", ["reason"])
STALE_ACCESS = Counter("mlp_access_stale", "Requests let in on an earlier answer, api-server being away")
FORGOTTEN_ACCESS = Counter("mlp_access_forgotten", "Callers asked about anew, since a notice came")
REFUSALS_DROPPED = Counter("mlp_access_refusals_dropped", "Refusals that the audit log was not told of")
SYNC_FAILURES = Counter("mlp_sync_failures", "Polls of the desired state that got no answer")


def count_prediction(endpoint: str, number: int, outcome: str, *, seconds: float, rows: int) -> None:
    """Count a request. number: of the version; 0 with the endpoint `none`: it never came to a model."""
    requests, duration, answered = _of(endpoint, str(number) if number else "none", outcome)
    requests.inc()
    duration.observe(seconds)
    if rows:
        answered.inc(rows)


@lru_cache(maxsize=10_000)
def _of(endpoint: str, version: str, outcome: str) -> tuple[Counter, Histogram, Counter]:
    """Finding them by their labels takes longer than counting."""
    labels = (endpoint, version)
    return PREDICTIONS.labels(*labels, outcome), DURATION.labels(*labels), ROWS.labels(*labels)
