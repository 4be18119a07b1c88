import re
import stat
from pathlib import Path

import pytest

from compose.environment import DEFAULT_PROFILES, Environment, parse, write
from compose.errors import Stopped


@pytest.fixture
def env_file(tmp_path: Path) -> Path:
    path = tmp_path / ".env"
    write(path)
    return path


def environment(path: Path, *lines: str) -> Environment:
    path.write_text("\n".join([path.read_text(), *lines]) + "\n")
    return Environment(path, shell={})


class TestParse:
    @pytest.mark.parametrize(
        ("line", "value"),
        [
            ("A=1", "1"),
            ("A=1 # one", "1"),
            ("A=", ""),
            ("A=    # nothing", ""),
            ("A='1 # 2'", "1 # 2"),
            ('A="x y"', "x y"),
            ("export A=1", "1"),
            ("A=x#y", "x#y"),
            ("A=b=c", "b=c"),
        ],
    )
    def test_reads_a_line_as_compose_does(self, line: str, value: str) -> None:
        assert parse(line) == {"A": value}

    @pytest.mark.parametrize("line", ["# A=1", "", "A", "1A=2"])
    def test_leaves_out_what_is_no_setting(self, line: str) -> None:
        assert parse(line) == {}


class TestWrite:
    def test_makes_a_file_that_has_all_that_is_needed(self, env_file: Path) -> None:
        made = Environment(env_file, shell={})

        assert made.faults() == []
        assert made.profiles == DEFAULT_PROFILES.split(",")

    def test_makes_a_file_that_only_its_owner_reads(self, env_file: Path) -> None:
        assert stat.S_IMODE(env_file.stat().st_mode) == 0o600

    def test_makes_other_secrets_each_time(self, env_file: Path, tmp_path: Path) -> None:
        write(tmp_path / "other")
        first, second = parse(env_file.read_text()), parse((tmp_path / "other").read_text())

        assert {name for name in first if first[name] == second[name]} == {"COMPOSE_PROFILES"}
        assert len(set(first.values())) == len(first)

    @pytest.mark.parametrize(
        ("name", "project"),
        [(".env", "mlp"), ("second.env", "mlp-second"), ("Blue Team.env", "mlp-blue-team")],
    )
    def test_names_the_platform_after_its_file(self, tmp_path: Path, name: str, project: str) -> None:
        write(tmp_path / name)

        assert parse((tmp_path / name).read_text())["COMPOSE_PROJECT_NAME"] == project

    def test_never_changes_one_that_is_there(self, env_file: Path) -> None:
        before = env_file.read_bytes()

        with pytest.raises(Stopped, match="stays as it is"):
            write(env_file)

        assert env_file.read_bytes() == before

    def test_says_so_where_it_may_not_write(self, tmp_path: Path) -> None:
        with pytest.raises(Stopped, match="cannot be written"):
            write(tmp_path / "missing" / ".env")


class TestFaults:
    def test_of_a_file_that_is_missing_name_the_command(self, tmp_path: Path) -> None:
        assert Environment(tmp_path / ".env", shell={}).faults() == [
            f".env is missing. Run: make dev-setup ENV_FILE={tmp_path / '.env'}"
        ]

    @pytest.mark.parametrize("value", ["abc", "0", "70000", "80:80"])
    def test_name_a_port_that_is_none(self, env_file: Path, value: str) -> None:
        (fault,) = environment(env_file, f"HTTP_PORT={value}").faults()

        assert fault.startswith(f"HTTP_PORT is {value!r}")

    def test_name_each_missing_secret_with_one_to_copy(self, env_file: Path) -> None:
        (fault,) = environment(env_file, "JWT_SECRET=", "S3_SECRET_KEY=   # later").faults()

        assert "no value for S3_SECRET_KEY, JWT_SECRET" in fault or "no value for JWT_SECRET" in fault
        assert "JWT_SECRET=" in fault
        assert "S3_SECRET_KEY=" in fault

    def test_of_a_file_of_an_earlier_release_say_what_is_to_be_added(self, env_file: Path) -> None:
        (fault,) = environment(env_file, "POSTGRES_OWNER_PASSWORD=").faults()

        assert "which earlier releases did not know" in fault
        assert '"Database roles" in docs/deployment.md' in fault
        assert re.search(r"^    POSTGRES_OWNER_PASSWORD=[0-9a-f]{64}$", fault, re.MULTILINE)

    def test_ask_for_the_secrets_of_chosen_profiles_only(self, env_file: Path) -> None:
        assert environment(env_file, "ELASTIC_PASSWORD=").faults() == []

        (fault,) = environment(env_file, "COMPOSE_PROFILES=core,logging").faults()
        assert "ELASTIC_PASSWORD" in fault

    def test_name_an_unknown_profile_and_the_known(self, env_file: Path) -> None:
        (fault,) = environment(env_file, "COMPOSE_PROFILES=core,grafana").faults()

        assert "names grafana" in fault
        assert "core, monitoring, dashboards, host, logging" in fault

    @pytest.mark.parametrize("password", ["a/b" * 12, "p@ss" * 8, "x:y" * 12, "a b" * 12])
    def test_name_a_password_that_an_address_cannot_hold(self, env_file: Path, password: str) -> None:
        (fault,) = environment(env_file, f'REDIS_BROKER_PASSWORD="{password}"').faults()

        assert fault.startswith("REDIS_BROKER_PASSWORD holds a character")
        assert password not in fault


class TestProduction:
    @pytest.mark.parametrize("password", ["admin", "x" * 40, "short-but-mixed"])
    def test_refuses_a_password_that_can_be_guessed(self, env_file: Path, password: str) -> None:
        (fault,) = environment(env_file, "ENVIRONMENT=production", f"GRAFANA_PASSWORD={password}").faults()

        assert fault.startswith("GRAFANA_PASSWORD can be guessed")
        assert password not in fault

    def test_takes_what_dev_setup_makes(self, env_file: Path) -> None:
        assert environment(env_file, "ENVIRONMENT=production").faults() == []

    def test_is_stricter_than_development(self, env_file: Path) -> None:
        assert environment(env_file, "GRAFANA_PASSWORD=admin").faults() == []


def test_the_shell_overrules_the_file(env_file: Path) -> None:
    assert Environment(env_file, shell={"COMPOSE_PROFILES": "core"}).profiles == ["core"]
