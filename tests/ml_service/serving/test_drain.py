"""Replicas are stopped and started again under load, behind nginx: no request is lost."""

import time
from pathlib import Path

import pytest

from tests.ml_service.serving.calling import ROW
from tests.ml_service.serving.load import load
from tests.ml_service.serving.service_process import service_process
from tests.nginx.front_door import front_door

RATE = 100.0


@pytest.mark.needs("nginx")
def test_replicas_come_and_go_without_a_lost_request(tmp_path: Path, served_demos: Path) -> None:
    with (
        service_process(tmp_path, served_demos, DRAIN_SECONDS="1") as first,
        service_process(tmp_path, served_demos) as second,
        front_door(tmp_path, api_url=first.url, ml_url="", replicas=[first.url, second.url]) as door,
    ):
        asking = load(f"{door.ml_url}/predict/demo_model_1", ROW, 100, rate=RATE, fresh=True)
        codes = []
        for each in (first, second):
            time.sleep(0.7)
            codes.append(each.stop())
            each.start()
        time.sleep(0.7)
        outcome = asking.outcome(stop=True)

    print(outcome.told())
    assert codes == [0, 0]
    assert (set(outcome.milliseconds), outcome.broken) == ({200}, {})
    assert outcome.count(200) > RATE
