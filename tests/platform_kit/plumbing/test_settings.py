from pathlib import Path

import pytest

from platform_kit.plumbing.settings import KitSettings, SettingsMissing

NEEDED = {
    "BROKER_URL": "redis://127.0.0.1/0",
    "CACHE_URL": "redis://127.0.0.1/1",
    "INTERNAL_TOKEN": "t",
    "S3_ENDPOINT": "127.0.0.1:9000",
    "S3_ACCESS_KEY": "key",
    "S3_SECRET_KEY": "hunter2",
}


@pytest.fixture(autouse=True)
def environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in NEEDED.items():
        monkeypatch.setenv(name, value)


class TestFromEnvironment:
    def test_reads_what_is_set_and_defaults_the_rest(self) -> None:
        settings = KitSettings.from_environment()

        assert (settings.s3_endpoint, settings.s3_bucket) == ("127.0.0.1:9000", "mlp")
        assert "hunter2" not in repr(settings)

    def test_ends_with_a_sentence_for_each_that_is_missing(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.delenv("BROKER_URL")
        monkeypatch.setenv("ENVIRONMENT", "moon")

        with pytest.raises(SettingsMissing) as ended:
            KitSettings.from_environment()

        assert "BROKER_URL" in str(ended.value)
        assert "ENVIRONMENT" in str(ended.value)
        assert ".env.example" in str(ended.value)

    def test_takes_a_secret_from_a_file(self, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
        (tmp_path / "s3").write_text("from a file\n")
        monkeypatch.delenv("S3_SECRET_KEY")
        monkeypatch.setenv("S3_SECRET_KEY_FILE", str(tmp_path / "s3"))

        assert KitSettings.from_environment().s3_secret_key.get_secret_value() == "from a file"
