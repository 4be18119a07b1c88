"""What whoever runs the platform does to it: wrong settings, stop, down, backup and restore."""

import re
import socket
from pathlib import Path

import pytest

from tests.containers.platform import Platform
from tests.verify.loop import body_of, new_model, trained
from tests.verify.scene import Scene

pytestmark = pytest.mark.timeout(600)


class TestFaults:
    """Wrong settings, each told in a sentence, with nothing started or changed."""

    def changed(self, platform: Platform, tmp_path: Path, **values: str) -> Path:
        lines = [f"{name}={value}" for name, value in values.items()]
        kept = [
            line
            for line in platform.env_file.read_text().splitlines()
            if line.partition("=")[0] not in values
        ]
        path = tmp_path / ".env"
        path.write_text("\n".join([*kept, *lines]) + "\n")
        return path

    def test_a_database_password_that_is_not_the_databases(self, platform: Platform, tmp_path: Path) -> None:
        env_file = self.changed(platform, tmp_path, POSTGRES_APP_PASSWORD="a" * 32 + "bcd")
        command = ["python3", "-m", "compose", "--env-file", str(env_file), "run"]

        ran = platform.run(*command, "run", "--rm", "--no-deps", "-T", "migrate")

        assert ran.returncode != 0
        assert "POSTGRES_APP_PASSWORD" in ran.stdout
        assert "Traceback" not in ran.stdout

    def test_storage_keys_that_are_not_the_storages(self, platform: Platform, tmp_path: Path) -> None:
        env_file = self.changed(platform, tmp_path, S3_SECRET_KEY="x7" * 20 + "bcd")
        command = ["python3", "-m", "compose", "--env-file", str(env_file), "run"]

        ran = platform.run(*command, "run", "--rm", "--no-deps", "-T", "migrate")

        assert ran.returncode != 0
        assert "S3_SECRET_KEY" in ran.stdout
        assert "Traceback" not in ran.stdout

    def test_production_with_demo_models_and_accounts(self, platform: Platform, tmp_path: Path) -> None:
        env_file = self.changed(platform, tmp_path, ENVIRONMENT="production", CORS_ORIGINS="*")
        command = ["python3", "-m", "compose", "--env-file", str(env_file), "run"]

        api = platform.run(*command, "run", "--rm", "--no-deps", "-T", "migrate")
        ml = platform.run(*command, "run", "--rm", "--no-deps", "-T", "ml-service")

        assert "DEMO_PASSWORD" in api.stdout
        assert "CORS_ORIGINS" in api.stdout
        assert "DEMO_MODELS" in ml.stdout
        assert api.returncode != 0
        assert ml.returncode != 0
        assert "Traceback" not in api.stdout + ml.stdout

    def test_a_port_in_use(self, platform: Platform, tmp_path: Path) -> None:
        """Also for a service that runs already, on another port."""
        with socket.socket() as other:
            other.bind(("127.0.0.1", 0))
            other.listen()
            taken = other.getsockname()[1]
            env_file = self.changed(platform, tmp_path, FLOWER_PORT=str(taken))

            ran = platform.make("up", env_file)

        assert ran.returncode != 0
        assert f"Port {taken} on 127.0.0.1, wanted by flower, is in use." in ran.stdout
        assert "set FLOWER_PORT in .env" in ran.stdout


class TestStop:
    def test_leaves_everybody_time_to_finish(self, platform: Platform) -> None:
        """Exit code 137 would be a container that was killed at the end of its grace period."""
        platform.compose("stop")
        codes = {
            each["Config"]["Labels"]["com.docker.compose.service"]: each["State"]["ExitCode"]
            for each in platform.containers()
        }
        platform.compose("start")
        platform.await_health()

        assert not {service for service, code in codes.items() if code == 137}


class TestDown:
    def test_and_up_keep_the_data(self, platform: Platform, scene: Scene) -> None:
        before = scene.maker.predict(scene.model["endpoint"], scene.rows[1].features).json()
        nameless = {
            mount["Name"]
            for each in platform.containers()
            for mount in each["Mounts"]
            if mount["Type"] == "volume" and re.fullmatch("[0-9a-f]{64}", mount["Name"])
        }
        assert nameless

        assert platform.make("down").returncode == 0
        assert platform.containers() == []
        assert not nameless & set(platform.docker("volume", "ls", "--quiet").split()), (
            "caches are left behind"
        )
        assert platform.make("up").returncode == 0

        after = scene.maker.predict(scene.model["endpoint"], scene.rows[1].features).json()
        assert after["probabilities"] == before["probabilities"]

    def test_a_profile_that_is_left_out_is_stopped_by_up(self, platform: Platform, tmp_path: Path) -> None:
        kept = platform.env_file.read_text().replace(
            "COMPOSE_PROFILES=core,monitoring", "COMPOSE_PROFILES=core"
        )
        fewer = tmp_path / ".env"
        fewer.write_text(kept)

        assert platform.make("up", fewer).returncode == 0
        assert platform.containers("prometheus") == []
        assert platform.make("up").returncode == 0
        assert platform.containers("prometheus")


class TestBackup:
    def test_restores_what_was_destroyed(self, platform: Platform, scene: Scene) -> None:
        maker, endpoint = scene.maker, scene.model["endpoint"]
        rows = [row.features for row in scene.rows[:50]]
        before = body_of(maker.predict_batch(endpoint, rows, return_probabilities=True))["predictions"]
        images = [platform.containers(each)[0]["Config"]["Image"] for each in ("api-server", "ml-service")]
        taken = platform.make("backup", TO=str(platform.directory / "backups"))
        assert taken.returncode == 0, taken.stdout
        (folder,) = (platform.directory / "backups").iterdir()

        assert platform.make("clean").returncode == 0
        platform.docker("image", "rm", "--force", *set(images))
        restored = platform.make("restore", FROM=str(folder))

        assert restored.returncode == 0, restored.stdout
        platform.await_health()
        body_of(maker.log_in())
        after = body_of(maker.predict_batch(endpoint, rows, return_probabilities=True))["predictions"]
        assert [each["probabilities"] for each in after] == [each["probabilities"] for each in before]
        model = new_model(maker, scene.flights["id"], name="after the restore")
        assert trained(maker, model)["status"] == "trained"

    def test_that_has_changed_is_refused(self, platform: Platform) -> None:
        (folder,) = (platform.directory / "backups").iterdir()
        with (folder / "objects.tar").open("ab") as file:
            file.write(b"!")

        ran = platform.make("restore", FROM=str(folder))

        assert ran.returncode != 0
        assert "has changed since it was written" in ran.stdout
