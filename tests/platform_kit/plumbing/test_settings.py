from pathlib import Path

import pytest

from platform_kit.plumbing.settings import KitSettings, RateLimit, SettingsMissing
from tests.needed_settings import NEEDED, STRONG, redis


@pytest.fixture(autouse=True)
def environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in NEEDED.items():
        monkeypatch.setenv(name, value)


def refusal() -> str:
    with pytest.raises(SettingsMissing) as ended:
        KitSettings.from_environment()
    return str(ended.value)


class TestFromEnvironment:
    def test_reads_what_is_set_and_defaults_the_rest(self) -> None:
        settings = KitSettings.from_environment()

        assert (settings.s3_endpoint, settings.s3_bucket) == ("127.0.0.1:9000", "mlp")
        assert STRONG not in repr(settings)

    def test_ends_with_a_sentence_for_each_that_is_missing(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.delenv("BROKER_URL")
        monkeypatch.delenv("INTERNAL_TOKEN")
        monkeypatch.setenv("ENVIRONMENT", "moon")

        said = refusal()

        assert "BROKER_URL is missing; write redis://:PASSWORD@HOST:PORT/0" in said
        assert "INTERNAL_TOKEN is missing; make one with: openssl rand -hex 32" in said
        assert "ENVIRONMENT: " in said
        assert ".env.example" in said

    def test_wants_a_long_internal_token_everywhere(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("INTERNAL_TOKEN", "x" * 31)

        assert "INTERNAL_TOKEN: must be at least 32 bytes long; make one with" in refusal()


class TestFiles:
    def test_give_a_secret(self, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
        (tmp_path / "s3").write_text("from a file\n")
        monkeypatch.delenv("S3_SECRET_KEY")
        monkeypatch.setenv("S3_SECRET_KEY_FILE", str(tmp_path / "s3"))

        assert KitSettings.from_environment().s3_secret_key.get_secret_value() == "from a file"

    @pytest.mark.parametrize(
        ("content", "fault"),
        [(None, "No such file"), (b"\xff\xfe", "not text"), (b"\n", "is empty")],
        ids=["missing", "binary", "empty"],
    )
    def test_that_give_none_are_named(
        self, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, content: bytes | None, fault: str
    ) -> None:
        if content is not None:
            (tmp_path / "s3").write_bytes(content)
        monkeypatch.delenv("S3_SECRET_KEY")
        monkeypatch.setenv("S3_SECRET_KEY_FILE", str(tmp_path / "s3"))

        said = refusal()

        assert f"S3_SECRET_KEY_FILE names {tmp_path / 's3'}" in said
        assert fault in said
        assert "S3_SECRET_KEY is missing" not in said

    def test_are_not_for_what_is_set_already(self, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
        (tmp_path / "s3").write_text(STRONG)
        monkeypatch.setenv("S3_SECRET_KEY_FILE", str(tmp_path / "s3"))

        assert "S3_SECRET_KEY and S3_SECRET_KEY_FILE are both set" in refusal()


class TestProduction:
    @pytest.fixture(autouse=True)
    def production(self, environment: None, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("ENVIRONMENT", "production")

    def test_takes_what_is_strong(self) -> None:
        assert KitSettings.from_environment().environment == "production"

    @pytest.mark.parametrize(
        ("name", "value", "fault"),
        [
            ("INTERNAL_TOKEN", "changeme" + STRONG * 2, "holds the placeholder 'changeme'"),
            ("INTERNAL_TOKEN", "a" * 40, "repeats itself"),
            ("INTERNAL_TOKEN", "abcd" * 10, "repeats itself"),
            ("INTERNAL_TOKEN", "aaaaaaaaaaaaaaaabbbbbbbbbbbbbbbbcd", "fewer than 6 different"),
            ("S3_SECRET_KEY", "minioadminminioadmin", "holds the placeholder"),
            ("S3_SECRET_KEY", "kJ7pQx2vLm", "at least 16 bytes"),
            ("BROKER_URL", redis("My-Password-1234567"), "holds the placeholder 'password'"),
            ("CACHE_URL", "redis://redis/0", "at least 16 bytes"),
        ],
    )
    def test_refuses_a_secret_that_can_be_guessed(
        self, monkeypatch: pytest.MonkeyPatch, name: str, value: str, fault: str
    ) -> None:
        monkeypatch.setenv(name, value)

        said = refusal()

        assert f"{name}: " in said
        assert fault in said
        assert "openssl rand -hex" in said
        assert value not in said

    def test_names_all_that_is_unsafe_at_once(self, monkeypatch: pytest.MonkeyPatch) -> None:
        for name in ("BROKER_URL", "CACHE_URL"):
            monkeypatch.setenv(name, redis("changeme"))
        monkeypatch.setenv("CORS_ORIGINS", "https://app.example,*")
        monkeypatch.delenv("S3_ENDPOINT")

        said = refusal()

        for name in ("BROKER_URL", "CACHE_URL", "CORS_ORIGINS", "S3_ENDPOINT"):
            assert f"  {name}" in said

    def test_takes_a_password_with_its_special_characters_encoded(
        self, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setenv("BROKER_URL", redis("a%2Fb%40c%3Ad%23e%25f%3Fg%26h%3Di"))

        assert KitSettings.from_environment().broker_url

    def test_development_takes_anything(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("ENVIRONMENT", "development")
        monkeypatch.setenv("BROKER_URL", redis("changeme"))
        monkeypatch.setenv("CORS_ORIGINS", "*")

        assert KitSettings.from_environment().cors_origins == ("*",)


class TestOrigins:
    @pytest.mark.parametrize(
        ("text", "origins"),
        [
            ("", ()),
            ("https://a.example", ("https://a.example",)),
            (
                " https://a.example , http://127.0.0.1:3000,http://[::1]:80 ",
                ("https://a.example", "http://127.0.0.1:3000", "http://[::1]:80"),
            ),
        ],
    )
    def test_are_a_list_with_commas(
        self, monkeypatch: pytest.MonkeyPatch, text: str, origins: tuple[str, ...]
    ) -> None:
        monkeypatch.setenv("CORS_ORIGINS", text)

        assert KitSettings.from_environment().cors_origins == origins

    @pytest.mark.parametrize(
        "text",
        ["a.example", "https://a.example/", "https://a.example/app", "ftp://a.example", "https://A.example"],
    )
    def test_are_scheme_host_and_port_only(self, monkeypatch: pytest.MonkeyPatch, text: str) -> None:
        monkeypatch.setenv("CORS_ORIGINS", text)

        assert f"CORS_ORIGINS: {text!r} is no origin; write scheme://host[:port]" in refusal()


class TestTrustedProxies:
    def test_are_addresses_and_networks(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("TRUSTED_PROXIES", "127.0.0.1, 172.16.0.0/12,2001:db8::/32")

        networks = KitSettings.from_environment().trusted_proxies

        assert [str(each) for each in networks] == ["127.0.0.1/32", "172.16.0.0/12", "2001:db8::/32"]

    def test_are_nobody_by_default(self) -> None:
        assert KitSettings.from_environment().trusted_proxies == ()

    @pytest.mark.parametrize("text", ["*", "nginx", "10.0.0.0/33", "10.0.0.5/8", "0.0.0.0/0", "::/0"])
    def test_that_are_none_are_named(self, monkeypatch: pytest.MonkeyPatch, text: str) -> None:
        monkeypatch.setenv("TRUSTED_PROXIES", text)

        assert "TRUSTED_PROXIES: " in refusal()


class Limited(KitSettings):
    some_limit: RateLimit = "5/minute"


class TestRateLimit:
    @pytest.mark.parametrize(("text", "expected"), [("9/hour", "9/hour"), ("off", ""), ("", "5/minute")])
    def test_is_a_rate_or_off(self, monkeypatch: pytest.MonkeyPatch, text: str, expected: str) -> None:
        monkeypatch.setenv("SOME_LIMIT", text)

        assert Limited.from_environment().some_limit == expected

    def test_that_is_none_is_named(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("SOME_LIMIT", "lots")

        with pytest.raises(SettingsMissing, match="SOME_LIMIT: write one rate such as 3000/minute"):
            Limited.from_environment()
