"""What must hold of all jobs together, whatever was done to the platform meanwhile."""

import hashlib
import json
import os
from pathlib import Path

from tests.faults.plant import Plant
from tests.faults.workshop import wait_until

SETTLE_SECONDS = 60.0
LIVE = "status IN ('queued', 'running')"

UNSETTLED = f"SELECT id, kind, status, attempt, error FROM jobs WHERE {LIVE} AND created_at < now() - interval '0.2 s'"
ENDS = """
    SELECT j.id, j.kind, j.status, count(e.id) AS ends, min(e.body ->> 'status') AS told
    FROM jobs j LEFT JOIN job_events e
      ON e.job_id = j.id AND e.type = 'state' AND e.body ->> 'status' IN ('succeeded', 'failed', 'cancelled')
    WHERE j.status NOT IN ('queued', 'running') GROUP BY j.id
    HAVING count(e.id) <> 1 OR min(e.body ->> 'status') <> j.status
"""
WRONG_VERSIONS = """
    SELECT m.id, m.name, m.latest_version, count(v.id) AS versions,
      (SELECT count(*) FROM jobs j WHERE j.subject_id = m.id AND j.kind = 'train' AND j.status = 'succeeded') AS wins
    FROM models m LEFT JOIN model_versions v ON v.model_id = m.id GROUP BY m.id
    HAVING count(v.id) <> (SELECT count(*) FROM jobs j
      WHERE j.subject_id = m.id AND j.kind = 'train' AND j.status = 'succeeded')
      OR count(v.id) <> coalesce(m.latest_version, 0)
"""
OF_LOST_JOBS = """
    SELECT v.id FROM model_versions v LEFT JOIN jobs j ON j.id = v.job_id
    WHERE j.status IS DISTINCT FROM 'succeeded'
"""
DOUBLE = "SELECT job_id, count(*) FROM model_versions GROUP BY job_id HAVING count(*) > 1"
OPEN_ATTEMPTS = """
    SELECT a.job_id, a.number, j.status FROM job_attempts a JOIN jobs j ON j.id = a.job_id
    WHERE j.status NOT IN ('queued', 'running') AND (a.ended_at IS NULL OR a.outcome IS NULL)
"""
WRONG_ATTEMPTS = """
    SELECT j.id, j.attempt, count(a.number) AS rows FROM jobs j LEFT JOIN job_attempts a ON a.job_id = j.id
    GROUP BY j.id HAVING count(a.number) <> j.attempt
"""
TWO_WINS = "SELECT job_id FROM job_attempts WHERE outcome = 'succeeded' GROUP BY job_id HAVING count(*) > 1"
UNTOLD = "SELECT id, status FROM dataset_versions WHERE status IN ('pending', 'profiling')"
BELLS = "SELECT job_id, queue FROM outbox"
FACTS = {
    "each ended job has exactly one last state": ENDS,
    "versions of a model are its succeeded trainings": WRONG_VERSIONS,
    "each version is of a succeeded job": OF_LOST_JOBS,
    "no job has two versions": DOUBLE,
    "no attempt of an ended job is open": OPEN_ATTEMPTS,
    "each claim is an attempt": WRONG_ATTEMPTS,
    "no job succeeded twice": TWO_WINS,
    "each data set is ready or has a reason": UNTOLD,
}


def check_nothing_lost(plant: Plant, *, seconds: float = SETTLE_SECONDS) -> None:
    """Waits until all that was accepted is over, then looks at everything."""
    wait_until(lambda: not _unsettled(plant), f"all jobs end; {_unsettled(plant)}", seconds=seconds)
    known = {str(row["id"]): row["status"] for row in plant.rows("SELECT id, status FROM jobs")}
    assert [job_id for job_id in plant.jobs if job_id not in known] == [], "accepted, and gone"
    for fact, breaches in FACTS.items():
        found = plant.rows(breaches)
        assert not found, f"{fact}, but {[dict(each) for each in found[:5]]}"
    _check_files(plant)
    wait_until(lambda: not plant.rows(BELLS), "the outbox is empty", seconds=10)
    wait_until(lambda: not children_left(plant), "no child is left", seconds=5)


def _unsettled(plant: Plant) -> list[dict[str, object]]:
    return [dict(row) for row in plant.rows(UNSETTLED)]


def _check_files(plant: Plant) -> None:
    """Manifest and files of each version are in storage, and are what they should be."""
    statement = "SELECT id, manifest_key, manifest_sha256 FROM model_versions"
    for row in plant.rows(statement):
        if row["id"] in plant.sound_versions:
            continue
        raw = plant.store.read(row["manifest_key"])
        assert hashlib.sha256(raw).hexdigest() == row["manifest_sha256"]
        for file in json.loads(raw)["files"]:
            assert hashlib.sha256(plant.store.read(file["key"])).hexdigest() == file["sha256"]
        plant.sound_versions.add(row["id"])


def children_left(plant: Plant) -> list[int]:
    """Processes in the scratch directory of a job; while one runs, they are no remains."""
    mark = str(plant.folder / "scratch")
    return [pid for pid, folder in _working_directories() if folder.startswith(mark)]


def _working_directories() -> list[tuple[int, str]]:
    found = []
    for process in Path("/proc").glob("[0-9]*"):
        try:
            found.append((int(process.name), os.readlink(process / "cwd")))
        except OSError:
            continue
    return found
