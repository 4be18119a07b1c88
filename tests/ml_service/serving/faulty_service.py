"""ml-service, but for models that do what the file that FAULTS names says of them: `{"DIGEST": "raise"}`."""

import json
import os
import threading
import time
from pathlib import Path

from ml_service.artifacts.predictor import Predictor, Scored
from ml_service.artifacts.scorers import Floats
from ml_service.main import main
from ml_service.serving import loaded_models
from platform_kit.contract.artifact import Manifest

NAP_SECONDS, SLEEP_SECONDS = 0.3, 5.0


class FaultyPredictor(Predictor):
    def __init__(self, manifest: Manifest, directory: Path) -> None:
        super().__init__(manifest, directory)
        self._digest = manifest.digest()

    def score(self, matrix: Floats) -> list[Scored]:
        match json.loads(Path(os.environ["FAULTS"]).read_text()).get(self._digest):
            case "nap":
                time.sleep(NAP_SECONDS)
            case "sleep":
                time.sleep(SLEEP_SECONDS)
            case "raise":
                raise MemoryError("planted")
            case "block":
                threading.Event().wait()
        return super().score(matrix)


if __name__ == "__main__":
    loaded_models.Predictor = FaultyPredictor  # type: ignore[attr-defined]
    main()
