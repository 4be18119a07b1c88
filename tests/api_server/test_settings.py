import pytest

from api_server.settings import Settings
from platform_kit.plumbing.settings import SettingsMissing
from tests.needed_settings import NEEDED as EVERYWHERE
from tests.needed_settings import STRONG

KEY, OLD_KEY = f"{STRONG}-new-{STRONG}", f"{STRONG}-old-{STRONG}"
NEEDED = {
    **EVERYWHERE,
    "DATABASE_URL": f"postgresql+asyncpg://app:{STRONG}@postgres:5432/mlp",
    "JWT_SECRET": KEY,
}


@pytest.fixture(autouse=True)
def environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in NEEDED.items():
        monkeypatch.setenv(name, value)


def refusal() -> str:
    with pytest.raises(SettingsMissing) as ended:
        Settings.from_environment()
    return str(ended.value)


class TestJwtSecretPrevious:
    @pytest.mark.parametrize("environment_name", ["development", "production"])
    def test_may_be_left_empty_and_may_be_another_key(
        self, monkeypatch: pytest.MonkeyPatch, environment_name: str
    ) -> None:
        monkeypatch.setenv("ENVIRONMENT", environment_name)

        assert Settings.from_environment().jwt_secret_previous.get_secret_value() == ""

        monkeypatch.setenv("JWT_SECRET_PREVIOUS", OLD_KEY)
        assert Settings.from_environment().jwt_secret_previous.get_secret_value() == OLD_KEY

    def test_must_be_long_everywhere(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("JWT_SECRET_PREVIOUS", "short")

        assert "JWT_SECRET_PREVIOUS: must be at least 32 bytes long" in refusal()

    @pytest.mark.parametrize(
        ("value", "sentence"),
        [
            (KEY, "must not be JWT_SECRET itself"),
            ("changeme" * 5, "placeholder"),
            ("ab" * 20, "repeats itself"),
        ],
    )
    def test_must_be_another_one_and_strong_in_production(
        self, monkeypatch: pytest.MonkeyPatch, value: str, sentence: str
    ) -> None:
        monkeypatch.setenv("JWT_SECRET_PREVIOUS", value)
        assert Settings.from_environment().jwt_secret_previous.get_secret_value() == value

        monkeypatch.setenv("ENVIRONMENT", "production")
        said = refusal()

        assert sentence in said
        assert value not in said


class TestLoginLimits:
    def test_are_what_nist_says_by_default(self) -> None:
        settings = Settings.from_environment()

        found = (settings.login_failures_per_hour, settings.login_failures_per_address_hour)
        assert found == (100, 1000)
        assert settings.access_token_seconds == 600

    @pytest.mark.parametrize(
        "name", ["LOGIN_FAILURES_PER_HOUR", "LOGIN_FAILURES_PER_ADDRESS_HOUR", "LOGIN_TRICKLE_SECONDS"]
    )
    def test_cannot_be_switched_off(self, monkeypatch: pytest.MonkeyPatch, name: str) -> None:
        monkeypatch.setenv(name, "0")

        assert name in refusal()


class TestRegistrationRole:
    def test_makes_no_administrator_of_whoever_comes(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("REGISTRATION_ROLE", "admin")

        assert "REGISTRATION_ROLE" in refusal()

        monkeypatch.setenv("REGISTRATION", "invitation")
        assert Settings.from_environment().registration_role == "admin"


class TestLease:
    def test_is_at_least_three_heartbeats_long(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("JOB_LEASE_SECONDS", "9")
        monkeypatch.setenv("JOB_HEARTBEAT_SECONDS", "3")
        assert Settings.from_environment().job_heartbeat_seconds == 3

        monkeypatch.setenv("JOB_HEARTBEAT_SECONDS", "3.5")
        said = refusal()
        assert "JOB_HEARTBEAT_SECONDS: must be at most a third of JOB_LEASE_SECONDS, which is 9" in said

    def test_is_not_shorter_than_the_usual_heartbeats_allow(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("JOB_LEASE_SECONDS", "10")

        assert "JOB_HEARTBEAT_SECONDS: must be at most a third" in refusal()
