from pathlib import Path
from typing import Annotated

from pydantic import AfterValidator, Field, SecretStr

from platform_kit.contract.access import Role
from platform_kit.plumbing.settings import KitSettings, long_enough


class Settings(KitSettings):
    """Every variable that the api-server's processes read: web, relay, `general` worker, beat, command line."""

    api_host: str = "127.0.0.1"
    api_port: int = 8000
    public_api_url: str = "http://127.0.0.1:8000"
    public_ml_url: str = "http://127.0.0.1:8001"
    ml_internal_url: str = "http://127.0.0.1:8001"

    database_url: SecretStr
    database_pool_size: int = 10

    jwt_secret: Annotated[SecretStr, AfterValidator(long_enough)]
    access_token_seconds: int = 900
    refresh_token_seconds: int = 30 * 24 * 3600
    refresh_grace_seconds: float = 10
    registration_role: Role = Role.DATA_SCIENTIST

    max_upload_bytes: int = 1024**3

    job_lease_seconds: float = 30
    job_heartbeat_seconds: float = 5
    job_max_attempts: int = Field(default=3, ge=1)
    job_time_limit_seconds: float = 3600
    job_memory_limit_bytes: int | None = None
    job_rering_seconds: float = 20
    relay_poll_seconds: float = 1
    reaper_interval_seconds: float = 5
    housekeeping_interval_seconds: float = 3600

    deploy_wait_seconds: float = 30
    replica_lost_seconds: float = 5
    idempotency_hours: int = 24

    platform_data_dir: Path = Path(".data")
