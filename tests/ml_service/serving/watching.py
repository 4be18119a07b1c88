"""A look at how often a loaded model is asked, and faults of it that cannot be had otherwise."""

import threading
import time
from uuid import UUID

from ml_service.artifacts.scorers import ClassNumbers, Floats, Scorer
from ml_service.serving.fast_lane import Parts
from ml_service.serving.loaded_models import LoadedVersion
from tests.ml_service.serving.calling import principal
from tests.ml_service.serving.publishing import PROJECT

OWNER_ID = UUID(int=9)


class Watched:
    """A model's own scorer, which may be told to take its time or to fail."""

    def __init__(self, scorer: Scorer) -> None:
        self._scorer = scorer
        self.feature_count = scorer.feature_count
        self.calls, self.rows = 0, 0
        self.seconds, self.fails = 0.0, False
        self._counting = threading.Lock()

    def scores(self, matrix: Floats) -> Floats:
        with self._counting:
            self.calls += 1
            self.rows += len(matrix)
        time.sleep(self.seconds)
        if self.fails:
            raise RuntimeError("the model is broken")
        return self._scorer.scores(matrix)

    def winners(self, matrix: Floats, scores: Floats) -> ClassNumbers:
        return self._scorer.winners(matrix, scores)


def loaded(parts: Parts, endpoint: str = "churn") -> LoadedVersion:
    found = parts.directory.at_once(endpoint, principal(user_id=OWNER_ID, project_ids=[PROJECT]))
    assert found
    return found.version


def watch(parts: Parts, endpoint: str = "churn", *, in_threads: bool = False) -> Watched:
    """in_threads: as a model that takes long is asked."""
    version = loaded(parts, endpoint)
    watched = Watched(version.predictor.scorer)
    version.predictor.scorer = watched
    if in_threads:
        version.lane.seconds_per_row = 1.0
    return watched
