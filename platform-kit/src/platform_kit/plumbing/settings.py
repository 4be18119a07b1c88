"""Settings that every service reads. Each is one environment variable, upper case, in `.env.example`.

A secret may be given as a file instead: `JWT_SECRET_FILE=/run/secrets/jwt` sets `JWT_SECRET`.
"""

import os
import re
from enum import StrEnum
from ipaddress import IPv4Network, IPv6Network, ip_network
from pathlib import Path
from typing import Annotated, Any, Self

from pydantic import AfterValidator, BeforeValidator, Field, SecretStr, ValidationError, ValidationInfo
from pydantic_settings import BaseSettings, NoDecode, PydanticBaseSettingsSource, SettingsConfigDict

from platform_kit.plumbing.rates import rate
from platform_kit.plumbing.secret_strength import (
    MAKE_PASSWORD,
    MAKE_SECRET,
    MIN_PASSWORD_BYTES,
    MIN_SECRET_BYTES,
    password_of,
    weakness,
)

ANY_ORIGIN = "*"
OFF = "off"
MAX_PORT = 65_535
_ORIGIN = re.compile(r"https?://(?:[a-z0-9.-]+|\[[0-9a-f:]+\])(?::\d{1,5})?")
_HOST_PORT = re.compile(r"(?:[^\s/:@\[\]]+|\[[0-9a-fA-F:]+\])(?::(?P<port>\d{1,5}))?")
_NOTHING: dict[str, Any] = {}


class Environment(StrEnum):
    DEVELOPMENT = "development"
    PRODUCTION = "production"


LEVELS = ("DEBUG", "INFO", "WARNING", "ERROR")


def is_production(info: ValidationInfo) -> bool:
    """For validators: whether this process runs in production."""
    return info.data.get("environment") is Environment.PRODUCTION


def _long_secret(secret: SecretStr, info: ValidationInfo) -> SecretStr:
    text = secret.get_secret_value()
    if len(text.encode()) < MIN_SECRET_BYTES:
        raise ValueError(f"must be at least {MIN_SECRET_BYTES} bytes long; {MAKE_SECRET}")
    return refuse_weak(secret, info, text=text, min_bytes=MIN_SECRET_BYTES, mend=MAKE_SECRET)


def _long_secret_if_any(secret: SecretStr, info: ValidationInfo) -> SecretStr:
    return _long_secret(secret, info) if secret.get_secret_value() else secret


def _strong_password(secret: SecretStr, info: ValidationInfo) -> SecretStr:
    mend = f"{MAKE_PASSWORD}, and give the server the same"
    return refuse_weak(secret, info, text=secret.get_secret_value(), min_bytes=MIN_PASSWORD_BYTES, mend=mend)


def _strong_password_inside(url: SecretStr, info: ValidationInfo) -> SecretStr:
    text = password_of(url.get_secret_value())
    mend = f"{MAKE_PASSWORD}, and give the server the same"
    return refuse_weak(
        url, info, text=text, min_bytes=MIN_PASSWORD_BYTES, mend=mend, what="the password in it "
    )


def refuse_weak(
    secret: SecretStr, info: ValidationInfo, *, text: str, min_bytes: int, mend: str, what: str = ""
) -> SecretStr:
    """For validators: in production a secret that can be guessed raises ValueError with how to `mend` it."""
    found = weakness(text, min_bytes=min_bytes) if is_production(info) else None
    if found is not None:
        raise ValueError(f"{what}{found}; {mend}")
    return secret


def _split(text: Any) -> Any:
    if not isinstance(text, str):
        return text
    return tuple(each.strip() for each in text.split(",") if each.strip())


def _origins(origins: tuple[str, ...], info: ValidationInfo) -> tuple[str, ...]:
    if ANY_ORIGIN in origins and is_production(info):
        raise ValueError("must not be * in production; name the origins, such as https://app.my-company.com")
    for each in origins:
        if each != ANY_ORIGIN and not _ORIGIN.fullmatch(each):
            raise ValueError(
                f"{each!r} is no origin; write scheme://host[:port] in lower case and without a path, "
                "such as https://app.my-company.com, several with commas between"
            )
    return origins


def _networks(text: Any) -> Any:
    """Addresses count as networks of one."""
    if not isinstance(text, str):
        return text
    try:
        found = tuple(ip_network(each) for each in _split(text))
    except ValueError as error:
        raise ValueError(
            f"{error}; write addresses or networks such as 172.16.0.0/12, several with commas between"
        ) from None
    if any(network.prefixlen == 0 for network in found):
        raise ValueError("must not name the whole internet: whoever calls would be believed")
    return found


def _host_and_port(endpoint: str) -> str:
    found = _HOST_PORT.fullmatch(endpoint)
    if found is None or int(found["port"] or 0) > MAX_PORT:
        raise ValueError(f"write HOST:PORT, without a scheme or a path, in place of {endpoint!r}")
    return endpoint


def _known_rate(text: str) -> str:
    if text.strip().lower() in ("", OFF):
        return ""
    rate(text)
    return text


def _known_level(level: str) -> str:
    if level.upper() not in LEVELS:
        raise ValueError(f"must be one of {', '.join(LEVELS)}")
    return level


OptionalLongSecret = Annotated[SecretStr, AfterValidator(_long_secret_if_any)]
LongSecret = Annotated[SecretStr, AfterValidator(_long_secret)]
"""Signs or opens something of ours: long in every environment, and not guessable in production."""
ServerPassword = Annotated[SecretStr, AfterValidator(_strong_password)]
UrlWithPassword = Annotated[SecretStr, AfterValidator(_strong_password_inside)]
LogLevel = Annotated[str, AfterValidator(_known_level)]
RateLimit = Annotated[str, AfterValidator(_known_rate)]
"""`AMOUNT/PERIOD`, such as 3000/minute; the empty text, for which `off` is written, is no limit."""
HostPort = Annotated[str, AfterValidator(_host_and_port)]
Origins = Annotated[tuple[str, ...], NoDecode, BeforeValidator(_split), AfterValidator(_origins)]

Networks = Annotated[tuple[IPv4Network | IPv6Network, ...], NoDecode, BeforeValidator(_networks)]


class SettingsMissing(SystemExit):
    """Ends the process with a sentence that names each setting to mend."""


class SecretFiles(PydanticBaseSettingsSource):
    """Reads `NAME_FILE` variables, the way container images take Docker secrets."""

    def get_field_value(self, field: Any, field_name: str) -> tuple[Any, str, bool]:
        text, _ = _from_file(field_name)
        return text, field_name, False

    def __call__(self) -> dict[str, Any]:
        values = {
            name: self.get_field_value(field, name)[0]
            for name, field in self.settings_cls.model_fields.items()
        }
        return {name: value for name, value in values.items() if value is not None}


def _from_file(field_name: str) -> tuple[str | None, str | None]:
    """What the file of a setting holds, and what is wrong with it; both None without a file."""
    name = field_name.upper()
    path = os.environ.get(f"{name}_FILE")
    if not path:
        return None, None
    if os.environ.get(name):
        return None, f"{name} and {name}_FILE are both set; keep one of them"
    try:
        text = Path(path).read_text().strip()
    except (OSError, UnicodeDecodeError) as error:
        reason = getattr(error, "strerror", None) or "it is not text"
        return None, f"{name}_FILE names {path}, which cannot be read: {reason}"
    return text or None, None if text else f"{name}_FILE names {path}, which is empty"


class KitSettings(BaseSettings):
    model_config = SettingsConfigDict(extra="ignore", env_ignore_empty=True, frozen=True)

    service_name: str = ""
    environment: Environment = Environment.DEVELOPMENT
    """Comes before what it decides about: validators see only the fields above their own."""
    log_level: LogLevel = "INFO"
    log_format: str = "json"
    problems_show_values: bool = True
    cors_origins: Origins = ()
    """Origins of browser applications that may call the service."""
    trusted_proxies: Networks = ()
    """Who is believed about a caller's address; nobody: the peer is the caller."""
    public_api_url: str = "http://127.0.0.1:8000"
    public_ml_url: str = "http://127.0.0.1:8001"
    drain_seconds: float = Field(default=0, ge=0)
    """After SIGTERM a service takes requests for so long, but says that it is not ready."""
    alive_file: Path | None = None
    """What a worker, relay or beat touches while it works."""

    broker_url: UrlWithPassword = Field(description="write redis://:PASSWORD@HOST:PORT/0")
    """Redis of the job doorbells: AOF on, noeviction."""
    cache_url: UrlWithPassword = Field(description="write redis://:PASSWORD@HOST:PORT/0")
    """Redis of caches: may lose everything at any time."""
    internal_token: LongSecret = Field(description=f"{MAKE_SECRET}; it is the same for every process")
    """What our processes show each other on `/internal`."""

    s3_endpoint: HostPort = Field(description="write HOST:PORT of the S3 server")
    s3_access_key: str = Field(description="write the name of the S3 account")
    s3_secret_key: ServerPassword = Field(description=f"{MAKE_PASSWORD}, and give the S3 server the same")
    s3_bucket: str = "mlp"
    s3_region: str = "us-east-1"
    s3_secure: bool = False

    @property
    def calling_pages(self) -> tuple[str, ...]:
        """Origins of pages of our own that call this service."""
        return ()

    @classmethod
    def from_environment(cls) -> Self:
        """Read the environment, or end the process with a sentence for each setting that is missing or wrong."""
        faults = {name: fault for name in cls.model_fields if (fault := _from_file(name)[1]) is not None}
        try:
            settings = cls(**_NOTHING)
        except ValidationError as error:
            found = {str(each["loc"][0]): cls._sentence(each) for each in error.errors()}
            faults = {**found, **faults}
        if faults:
            lines = "\n".join(f"  {each}." for each in faults.values())
            raise SettingsMissing(f"Settings are missing or wrong (see .env.example):\n{lines}")
        return settings

    @classmethod
    def _sentence(cls, error: Any) -> str:
        field = str(error["loc"][0])
        name, kind = field.upper(), cls.model_fields[field]
        if error["type"] != "missing":
            return f"{name}: {error['msg'].removeprefix('Value error, ')}"
        return f"{name} is missing; {kind.description or 'set it'} (or name a file in {name}_FILE)"

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
