"""What a deployment asks for, understood once and not for each request."""

from dataclasses import dataclass

from pydantic import ValidationError

from ml_service.serving.errors import ModelUnavailable
from ml_service.serving.found import Found
from ml_service.serving.loaded_models import LoadedVersion
from platform_kit.contract.artifact import canonical_json
from platform_kit.contract.serving import ServedVersion
from platform_kit.contract.serving_options import ServingOptions


@dataclass(frozen=True, slots=True)
class Wanted:
    """options: None for a config that a newer api-server knows and this process does not."""

    served: ServedVersion
    options: ServingOptions | None
    name: str

    @classmethod
    def of(cls, served: ServedVersion) -> "Wanted":
        try:
            options = ServingOptions.model_validate(served.config)
        except ValidationError:
            options = None
        return cls(served, options, canonical_json(served.config).decode())

    def found(self, version: LoadedVersion) -> Found:
        """The version under these options. Raises ModelUnavailable."""
        served = self.served
        if self.options is None:
            raise ModelUnavailable(
                "This process does not know an option of the deployment; it must be updated."
            )
        return Found(
            model_id=str(served.model_id),
            name=served.name,
            endpoint=served.endpoint,
            framework=served.framework,
            model_type=served.model_type,
            number=served.version,
            version=version,
            servable=version.under(self.options, self.name),
        )
