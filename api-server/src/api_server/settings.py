from enum import StrEnum
from pathlib import Path

from pydantic import Field, SecretStr, ValidationInfo, field_validator

from platform_kit.contract.access import Role
from platform_kit.plumbing.origins import names_of, origin_of
from platform_kit.plumbing.secret_strength import MAKE_PASSWORD, MAKE_SECRET
from platform_kit.plumbing.settings import (
    KitSettings,
    LongSecret,
    OptionalLongSecret,
    RateLimit,
    UrlWithPassword,
    is_production,
    refuse_weak,
)

MIN_ADMIN_PASSWORD_BYTES = 12
MIN_ORPHAN_GRACE_SECONDS = 2 * 3600
"""A worker writes an object again that is an hour old, and may be an hour away before it hands in the job."""


class Registration(StrEnum):
    """Who may make an account."""

    OPEN = "open"
    INVITATION = "invitation"
    CLOSED = "closed"


class Settings(KitSettings):
    """Every variable that the api-server's processes read: web, relay, `general` worker, beat, command line."""

    api_host: str = "127.0.0.1"
    api_port: int = 8000
    ml_internal_url: str = "http://127.0.0.1:8001"

    database_url: UrlWithPassword = Field(
        description="write postgresql+asyncpg://USER:PASSWORD@HOST:PORT/DATABASE"
    )
    database_owner_url: UrlWithPassword | None = None
    """Of the role that owns the schema; only preparing reads it. None: the role of DATABASE_URL owns it."""
    database_pool_size: int = 10

    rate_limit_address: RateLimit = "3000/minute"
    rate_limit_principal: RateLimit = "6000/minute"

    jwt_secret: LongSecret = Field(description=MAKE_SECRET)
    jwt_secret_previous: OptionalLongSecret = SecretStr("")
    """Empty: no key is being replaced."""
    access_token_seconds: int = Field(default=600, ge=1)
    refresh_token_seconds: int = 30 * 24 * 3600
    refresh_grace_seconds: float = 10
    login_failures_per_hour: int = Field(default=100, ge=1)
    login_failures_per_address_hour: int = Field(default=1000, ge=1)
    login_trickle_seconds: int = Field(default=10, ge=1)
    registration: Registration = Registration.OPEN
    registration_role: Role = Role.DATA_SCIENTIST
    audit_refusals_per_minute: int = Field(default=60, ge=1)
    """Of one caller and action that get an entry each; the others of that minute are counted in one."""
    registration_limit: RateLimit = "300/minute"
    """For each address."""
    password_reset_limit: RateLimit = "30/hour"  # noqa: S105  # a rate, not a secret
    """Of each address, for asking and for trying: each is an entry in the audit log, and nobody has signed in."""
    api_key_days: int = Field(default=90, ge=0)
    """How long a key lasts whose maker names no end; 0: it does not end by itself."""

    quota_dataset_bytes: int = Field(default=100 * 1024**3, ge=0)
    quota_models: int = Field(default=10_000, ge=0)
    quota_jobs_at_once: int = Field(default=1_000, ge=0)
    """Of each project, unless an administrator gives it its own."""

    prepare_patience_seconds: float = Field(default=60, ge=0)
    admin_username: str = "admin"
    admin_email: str = "admin@example.com"
    admin_password: SecretStr = SecretStr("")
    """Empty: no administrator is made."""
    demo_password: SecretStr = SecretStr("")
    """Empty: no demo account is made."""

    max_upload_bytes: int = 1024**3

    job_lease_seconds: float = Field(default=30, gt=0)
    job_heartbeat_seconds: float = Field(default=5, gt=0, validate_default=True)
    job_max_attempts: int = Field(default=3, ge=1)
    job_time_limit_seconds: float = Field(default=3600, gt=0)
    """Of a job that names no limit, and the most that one may ask for; so is the next."""
    job_memory_limit_bytes: int | None = Field(default=None, gt=0)
    job_rering_seconds: float = Field(default=20, gt=0)
    relay_poll_seconds: float = Field(default=1, gt=0)
    reaper_interval_seconds: float = Field(default=5, gt=0)
    housekeeping_interval_seconds: float = Field(default=3600, gt=0)
    orphans_interval_seconds: float = Field(default=6 * 3600, gt=0)
    figures_interval_seconds: float = Field(default=300, gt=0)
    job_log_days: int = Field(default=30, ge=1)
    orphan_grace_seconds: float = Field(default=24 * 3600, gt=0)

    deploy_wait_seconds: float = 30
    replica_lost_seconds: float = 5
    idempotency_hours: int = 24

    platform_data_dir: Path = Path(".data")
    s3_noncurrent_days: int = Field(default=30, ge=0)
    """0: the bucket keeps no older versions."""

    @field_validator("registration_role")
    @classmethod
    def _nobody_makes_himself_an_administrator(cls, role: Role, info: ValidationInfo) -> Role:
        if role is Role.ADMIN and info.data.get("registration") is Registration.OPEN:
            raise ValueError("must not be admin while REGISTRATION is open: whoever registers would be one")
        return role

    @field_validator("job_heartbeat_seconds")
    @classmethod
    def _one_lost_heartbeat_loses_no_job(cls, seconds: float, info: ValidationInfo) -> float:
        lease = info.data.get("job_lease_seconds")
        if lease is not None and 3 * seconds > lease:
            raise ValueError(f"must be at most a third of JOB_LEASE_SECONDS, which is {lease:g}")
        return seconds

    @field_validator("orphan_grace_seconds")
    @classmethod
    def _nothing_under_way_is_an_orphan(cls, seconds: float, info: ValidationInfo) -> float:
        if is_production(info) and seconds < MIN_ORPHAN_GRACE_SECONDS:
            raise ValueError(
                f"must be at least {MIN_ORPHAN_GRACE_SECONDS} in production: results under way would be deleted"
            )
        return seconds

    @field_validator("jwt_secret_previous")
    @classmethod
    def _keys_differ(cls, previous: SecretStr, info: ValidationInfo) -> SecretStr:
        if is_production(info) and previous == info.data.get("jwt_secret"):
            raise ValueError("must not be JWT_SECRET itself; name the key before it, or leave it empty")
        return previous

    @property
    def calling_pages(self) -> tuple[str, ...]:
        """The documentation of ml-service signs in here; where both have one origin, it needs no leave."""
        page = origin_of(self.public_ml_url)
        return () if page == origin_of(self.public_api_url) else names_of(page)

    @property
    def schema_url(self) -> SecretStr:
        """How the schema is changed: as its owner."""
        return self.database_owner_url or self.database_url

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
