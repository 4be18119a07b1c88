"""What only api-server and ml-service refuse in production."""

import pytest

from api_server.settings import Settings as ApiSettings
from ml_service.settings import Settings as MlSettings
from platform_kit.plumbing.settings import SettingsMissing

STRONG = "kJ7pQx2vLm9ZtR4wYc8NbD3s"
SAFE = {
    "ENVIRONMENT": "production",
    "BROKER_URL": f"redis://:{STRONG}@redis/0",
    "CACHE_URL": f"redis://:{STRONG}@redis/1",
    "DATABASE_URL": f"postgresql+asyncpg://app:{STRONG}@postgres/platform",
    "INTERNAL_TOKEN": f"{STRONG}-{STRONG}",
    "JWT_SECRET": f"{STRONG}+{STRONG}",
    "S3_ENDPOINT": "minio:9000",
    "S3_ACCESS_KEY": "platform",
    "S3_SECRET_KEY": STRONG,
    "DEMO_MODELS": "false",
}


@pytest.fixture(autouse=True)
def production(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in SAFE.items():
        monkeypatch.setenv(name, value)


def refusal(settings: type[ApiSettings | MlSettings]) -> str:
    with pytest.raises(SettingsMissing) as ended:
        settings.from_environment()
    return str(ended.value)


class TestApiServer:
    def test_takes_what_is_safe(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("ADMIN_PASSWORD", STRONG)

        assert ApiSettings.from_environment().admin_password.get_secret_value() == STRONG

    def test_names_each_unsafe_secret(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("DATABASE_URL", "postgresql+asyncpg://app:app@postgres/platform")
        monkeypatch.setenv("DATABASE_OWNER_URL", "postgresql+asyncpg://owner:owner@postgres/platform")
        monkeypatch.setenv("JWT_SECRET", "example" * 6)
        monkeypatch.setenv("ADMIN_PASSWORD", "admin")
        monkeypatch.setenv("DEMO_PASSWORD", STRONG)

        said = refusal(ApiSettings)

        assert "DATABASE_URL: the password in it must be at least 16 bytes long; make one with" in said
        assert "DATABASE_OWNER_URL: the password in it must be at least 16 bytes long; make one with" in said
        assert "JWT_SECRET: holds the placeholder 'example'" in said
        assert "ADMIN_PASSWORD: must be at least 12 bytes long" in said
        assert "leave DEMO_PASSWORD empty" in said

    def test_says_how_to_make_a_signing_key(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.delenv("JWT_SECRET")

        assert "JWT_SECRET is missing; make one with: openssl rand -hex 32" in refusal(ApiSettings)


class TestMlService:
    def test_takes_what_is_safe(self) -> None:
        assert MlSettings.from_environment().demo_models is False

    @pytest.mark.parametrize("value", ["true", None])
    def test_has_no_demo_models_even_by_default(
        self, monkeypatch: pytest.MonkeyPatch, value: str | None
    ) -> None:
        monkeypatch.delenv("DEMO_MODELS") if value is None else monkeypatch.setenv("DEMO_MODELS", value)

        assert "set DEMO_MODELS=false" in refusal(MlSettings)
