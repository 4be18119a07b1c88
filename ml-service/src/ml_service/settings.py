from pathlib import Path

from pydantic import Field, ValidationInfo, field_validator

from platform_kit.plumbing.settings import KitSettings, RateLimit, is_production


class Settings(KitSettings):
    """Every variable that ml-service's processes read: the prediction service and the workers."""

    ml_host: str = "127.0.0.1"
    ml_port: int = 8001
    api_internal_url: str = "http://127.0.0.1:8000"

    ml_cache_dir: Path = Path(".data/ml-cache")
    demo_models: bool = Field(default=True, validate_default=True)
    sync_interval_seconds: float = 0.5
    model_cache_entries: int = Field(default=64, ge=1)
    model_cache_bytes: int = Field(default=2 * 1024**3, ge=1)
    version_cache_entries: int = Field(default=64, ge=1)
    max_request_bytes: int = 32 * 1024 * 1024
    request_body_seconds: float = Field(default=30, gt=0)
    requests_in_flight: int = Field(default=256, ge=1)
    """Predictions that one process has begun and not ended, waiting for their bodies included."""
    scoring_queue: int = Field(default=32, ge=1)
    scoring_queue_seconds: float = Field(default=1, gt=0)
    prediction_seconds: float = Field(default=10, gt=0)
    prediction_cache_bytes: int = Field(default=64 * 1024**2, ge=0)
    prediction_cache_seconds: int = Field(default=3600, ge=1)
    prediction_cache_shared_from_microseconds: int = Field(default=400, ge=0)
    """A model that takes less to answer than Redis does is not looked up there."""

    auth_fresh_seconds: float = 1
    auth_positive_seconds: float = 2
    auth_denial_seconds: float = 1
    auth_timeout_seconds: float = 0.3
    auth_stale_max: float = 3600
    introspection_limit_address: RateLimit = "3000/minute"
    """Of credentials that are not known yet: api-server is asked about each of them."""
    predict_rate_limit_address: RateLimit = "120000/minute"
    predict_rate_limit_principal: RateLimit = "120000/minute"
    """Counted by each process for itself: a prediction waits for no other server."""

    worker_scratch_dir: Path = Path(".data/scratch")
    worker_memory_share: float = Field(default=0.8, gt=0, le=1)
    """Of the machine or container, for all jobs of one worker together, where a job has no limit of its own."""
    training_threads: int | None = None
    claim_patience_seconds: float = 20
    finish_patience_seconds: float = 3600
    storage_patience_seconds: float = 600
    kill_grace_seconds: float = 1

    @field_validator("demo_models")
    @classmethod
    def _nobody_tries_it_out_in_production(cls, wanted: bool, info: ValidationInfo) -> bool:
        if wanted and is_production(info):
            raise ValueError("demo models answer anybody, which production must not; set DEMO_MODELS=false")
        return wanted
