from dataclasses import dataclass

from ml_service.serving.loaded_models import LoadedVersion


@dataclass(frozen=True, slots=True)
class Found:
    """A version that is ready to answer, and the model it belongs to."""

    model_id: str
    name: str
    endpoint: str
    framework: str
    model_type: str
    number: int
    version: LoadedVersion
