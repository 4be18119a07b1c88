from pathlib import Path

from pydantic import Field, SecretStr, ValidationInfo, field_validator

from platform_kit.contract.access import Role
from platform_kit.plumbing.secret_strength import MAKE_PASSWORD, MAKE_SECRET
from platform_kit.plumbing.settings import (
    KitSettings,
    LongSecret,
    UrlWithPassword,
    is_production,
    refuse_weak,
)

MIN_ADMIN_PASSWORD_BYTES = 12


class Settings(KitSettings):
    """Every variable that the api-server's processes read: web, relay, `general` worker, beat, command line."""

    api_host: str = "127.0.0.1"
    api_port: int = 8000
    public_api_url: str = "http://127.0.0.1:8000"
    public_ml_url: str = "http://127.0.0.1:8001"
    ml_internal_url: str = "http://127.0.0.1:8001"

    database_url: UrlWithPassword = Field(
        description="write postgresql+asyncpg://USER:PASSWORD@HOST:PORT/DATABASE"
    )
    database_pool_size: int = 10

    jwt_secret: LongSecret = Field(description=MAKE_SECRET)
    access_token_seconds: int = 900
    refresh_token_seconds: int = 30 * 24 * 3600
    refresh_grace_seconds: float = 10
    registration_role: Role = Role.DATA_SCIENTIST

    prepare_patience_seconds: float = Field(default=60, ge=0)
    admin_username: str = "admin"
    admin_email: str = "admin@example.com"
    admin_password: SecretStr = SecretStr("")
    """Empty: no administrator is made."""
    demo_password: SecretStr = SecretStr("")
    """Empty: no demo account is made."""

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
    s3_noncurrent_days: int = Field(default=30, ge=0)
    """0: the bucket keeps no older versions."""

    @field_validator("admin_password")
    @classmethod
    def _admin_is_not_guessable(cls, password: SecretStr, info: ValidationInfo) -> SecretStr:
        text = password.get_secret_value()
        if not text:
            return password
        return refuse_weak(password, info, text=text, min_bytes=MIN_ADMIN_PASSWORD_BYTES, mend=MAKE_PASSWORD)

    @field_validator("demo_password")
    @classmethod
    def _nobody_tries_it_out_in_production(cls, password: SecretStr, info: ValidationInfo) -> SecretStr:
        if is_production(info) and password.get_secret_value():
            raise ValueError("there is no demo account in production; leave DEMO_PASSWORD empty")
        return password
