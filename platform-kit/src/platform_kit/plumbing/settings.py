"""Settings that every service reads. Each is one environment variable, upper case, in `.env.example`.

A secret may be given as a file instead: `JWT_SECRET_FILE=/run/secrets/jwt` sets `JWT_SECRET`.
"""

import os
from enum import StrEnum
from pathlib import Path
from typing import Any, Self

from pydantic import SecretStr, ValidationError
from pydantic_settings import BaseSettings, PydanticBaseSettingsSource, SettingsConfigDict

MIN_SECRET_BYTES = 32
_NOTHING: dict[str, Any] = {}


class Environment(StrEnum):
    DEVELOPMENT = "development"
    PRODUCTION = "production"


class SettingsMissing(SystemExit):
    """Ends the process with a sentence that names each setting to mend."""


class SecretFiles(PydanticBaseSettingsSource):
    """Reads `NAME_FILE` variables, the way container images take Docker secrets."""

    def get_field_value(self, field: Any, field_name: str) -> tuple[Any, str, bool]:
        path = os.environ.get(f"{field_name.upper()}_FILE")
        return (Path(path).read_text().strip() if path else None), field_name, False

    def __call__(self) -> dict[str, Any]:
        values = {
            name: self.get_field_value(field, name)[0]
            for name, field in self.settings_cls.model_fields.items()
        }
        return {name: value for name, value in values.items() if value is not None}


class KitSettings(BaseSettings):
    model_config = SettingsConfigDict(extra="ignore", env_ignore_empty=True, frozen=True)

    service_name: str = ""
    environment: Environment = Environment.DEVELOPMENT
    log_level: str = "INFO"
    log_format: str = "json"
    problems_show_values: bool = True

    broker_url: SecretStr
    """Redis of the job doorbells: AOF on, noeviction."""
    cache_url: SecretStr
    """Redis of caches: may lose everything at any time."""
    internal_token: SecretStr
    """What our processes show each other on `/internal`."""

    s3_endpoint: str
    s3_access_key: str
    s3_secret_key: SecretStr
    s3_bucket: str = "mlp"
    s3_region: str = "us-east-1"
    s3_secure: bool = False

    @classmethod
    def from_environment(cls) -> Self:
        """Read the environment, or end the process with a sentence for each setting that is missing or wrong."""
        try:
            return cls(**_NOTHING)
        except ValidationError as error:
            lines = [f"  {str(each['loc'][0]).upper()}: {each['msg']}" for each in error.errors()]
            raise SettingsMissing(
                "Settings are missing or wrong (see .env.example):\n" + "\n".join(lines)
            ) from None

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,
        file_secret_settings: PydanticBaseSettingsSource,
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        return init_settings, env_settings, SecretFiles(settings_cls)


def long_enough(secret: SecretStr) -> SecretStr:
    """For use in a validator: a secret that signs or opens something must not be guessable."""
    if len(secret.get_secret_value().encode()) < MIN_SECRET_BYTES:
        raise ValueError(
            f"must be at least {MIN_SECRET_BYTES} bytes long; make one with: openssl rand -hex 32"
        )
    return secret
