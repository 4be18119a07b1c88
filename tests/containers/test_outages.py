"""What is away for a while: named at once, back by itself, and nothing lost."""

import re
import time

import pytest

from tests.containers.platform import OUTAGE_SECONDS, Platform, eventually
from tests.verify.calling import Caller
from tests.verify.loop import finished_job
from tests.verify.scene import Scene
from tests.verify.serving import DEMO_ROW

pytestmark = pytest.mark.timeout(600)


class TestHealth:
    @pytest.mark.parametrize(
        "service", ["nginx", "postgres", "api-server", "ml-service", "worker-data", "beat"]
    )
    def test_names_a_paused_container_within_ten_seconds(self, platform: Platform, service: str) -> None:
        container = platform.containers(service)[0]["Id"]
        platform.docker("pause", container)
        try:
            started = time.monotonic()
            ran = platform.make("health")
            seconds = time.monotonic() - started
        finally:
            platform.docker("unpause", container)

        assert ran.returncode != 0
        assert re.search(rf"^✗  {service} .*paused", ran.stdout, re.MULTILINE), ran.stdout
        assert f"Not well: {service}" in ran.stdout or f", {service}" in ran.stdout
        assert seconds < 10

    def test_misses_a_container_that_was_removed(self, platform: Platform) -> None:
        platform.await_health()
        platform.docker("rm", "--force", platform.containers("beat")[0]["Id"])

        ran = platform.make("health")

        assert ran.returncode != 0
        assert re.search("^✗  beat .*is not there", ran.stdout, re.MULTILINE), ran.stdout
        assert platform.make("up").returncode == 0

    def test_is_not_troubled_by_a_command_that_runs_beside(self, platform: Platform) -> None:
        platform.await_health()
        platform.compose("run", "--no-deps", "-T", "migrate", "python", "-c", "raise SystemExit(3)", code=3)

        ran = platform.make("health")

        assert ran.returncode == 0, ran.stdout

    def test_names_a_service_that_answers_no_more(self, platform: Platform) -> None:
        platform.await_health()
        platform.docker("pause", platform.containers("ml-service")[0]["Id"])
        try:
            ran = platform.make("health")
        finally:
            platform.docker("unpause", platform.containers("ml-service")[0]["Id"])

        assert "Not well: ml-service, front door" in ran.stdout


def test_up_waits_for_what_is_still_getting_well(platform: Platform) -> None:
    """Compose itself gives up on a container that is unhealthy already."""
    platform.compose("stop", "postgres")
    eventually(
        lambda: platform.containers("api-server")[0]["State"]["Health"]["Status"] == "unhealthy",
        seconds=90,
        message="api-server does not notice that the database is away",
    )

    ran = platform.make("up")

    assert ran.returncode == 0, ran.stdout
    platform.await_health()


@pytest.mark.parametrize(
    "services",
    [
        ("postgres",),
        ("redis-broker", "redis-cache"),
        ("minio",),
        ("api-server",),
        ("ml-service",),
        ("worker-ml", "worker-data", "worker-general"),
        ("relay", "beat", "nginx"),
    ],
    ids=lambda services: services[0],
)
def test_a_service_that_was_away_comes_back_and_nothing_is_lost(
    platform: Platform, scene: Scene, impatient: Caller, services: tuple[str, ...]
) -> None:
    maker = scene.maker
    earlier = maker.predict(scene.model["endpoint"], scene.rows[0].features).json()
    job: dict[str, str] = {}

    def during() -> None:
        """What is asked for meanwhile is refused with a reason to come again, or done afterwards."""
        if "nginx" in services:
            return
        impatient.tokens = maker.tokens
        answer = impatient.api(
            "POST", f"/models/{scene.model['id']}/train", json={"parameters": {"n_estimators": 20}}
        )
        assert answer.status_code in (202, 503), answer.text
        if answer.status_code == 202:
            job.update(answer.json())
        else:
            assert answer.headers["retry-after"]
        if "ml-service" not in services:
            assert impatient.predict("demo_model_1", DEMO_ROW).status_code == 200

    platform.outage(*services, during=during)
    back = platform.await_health()
    print(f"{services[0]}: {OUTAGE_SECONDS:g} s away, well {back:.0f} s after")

    if job:
        assert finished_job(maker, job["id"], patience_seconds=120)["status"] == "succeeded"
    later = maker.predict(scene.model["endpoint"], scene.rows[0].features).json()
    assert later["probabilities"] == earlier["probabilities"]
