"""The manifest of a trained model: what the registry keeps and serving loads."""

from datetime import UTC, datetime

from ml_service.training.trainer import TrainedModel
from platform_kit.contract.artifact import ArtifactFile, DatasetDigest, Manifest
from platform_kit.contract.jobs import TrainSpec


def manifest_of(model: TrainedModel, spec: TrainSpec, *, files: list[ArtifactFile]) -> Manifest:
    dataset = spec.dataset
    return Manifest(
        created_at=datetime.now(UTC),
        task=spec.task,
        framework=spec.framework,
        algorithm=spec.algorithm,
        parameters=model.parameters,
        preprocessing=spec.preprocessing,
        seed=model.seed,
        target=model.target,
        classes=model.classes,
        dataset=DatasetDigest(dataset_id=dataset.dataset_id, version=dataset.version, sha256=dataset.sha256),
        split=model.split,
        libraries=model.libraries,
        metrics=model.metrics,
        evaluation=model.evaluation,
        training_seconds=model.training_seconds,
        contract=model.contract,
        encoder=model.encoder.to_json(),
        files=files,
        golden_rows=model.golden_rows,
        tolerance=model.tolerance,
        feature_means=model.feature_means,
    )
