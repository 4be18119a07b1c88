from dataclasses import dataclass

from ml_service.serving.loaded_models import LoadedVersion
from ml_service.serving.servable import Servable


@dataclass(frozen=True, slots=True)
class Found:
    """A version that is ready to answer, as its deployment wants it, and the model it belongs to."""

    model_id: str
    name: str
    endpoint: str
    framework: str
    model_type: str
    number: int
    version: LoadedVersion
    servable: Servable
