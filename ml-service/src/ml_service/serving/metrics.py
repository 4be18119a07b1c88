"""Prometheus metrics of serving. Labels are models and versions that are deployed: a bounded set."""

from prometheus_client import Counter, Gauge, Histogram

SECONDS = (0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10)

PREDICTIONS = Counter("mlp_predictions", "Requests for predictions", ["model", "version", "outcome"])
ROWS = Counter("mlp_prediction_rows", "Rows that were answered", ["model", "version"])
DURATION = Histogram(
    "mlp_prediction_duration_seconds", "From the request to its answer", ["model", "version"], buckets=SECONDS
)
LOADED = Gauge("mlp_model_cache_entries", "Versions in memory")
LOAD_SECONDS = Histogram("mlp_model_load_duration_seconds", "Fetching, verifying and loading", ["framework"])
LOAD_FAILURES = Counter("mlp_model_load_failures", "Versions that could not be loaded", ["reason"])
STALE_ACCESS = Counter("mlp_access_stale", "Requests let in on an earlier answer, api-server being away")
FORGOTTEN_ACCESS = Counter("mlp_access_forgotten", "Callers asked about anew, since a notice came")
REFUSALS_DROPPED = Counter("mlp_access_refusals_dropped", "Refusals that the audit log was not told of")
SYNC_FAILURES = Counter("mlp_sync_failures", "Polls of the desired state that got no answer")
