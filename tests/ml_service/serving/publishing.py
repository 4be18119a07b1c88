"""Put a trained version into object storage, as a worker does, and describe it, as api-server does."""

import hashlib
from pathlib import Path
from typing import Any
from uuid import UUID, uuid4

from platform_kit.contract.artifact import Manifest, ManifestRef, Task, canonical_json, object_key
from platform_kit.contract.serving import ServedVersion
from platform_kit.plumbing.object_store import ObjectStore

PROJECT = UUID(int=7)


def publish(store: ObjectStore, folder: Path, **changes: Any) -> ManifestRef:
    manifest = Manifest.model_validate_json((folder / "manifest.json").read_bytes()).model_copy(
        update=changes
    )
    for file in manifest.files:
        store.put_file(file.key, folder / Path(file.name).name)
    raw = canonical_json(manifest.model_dump(mode="json"))
    sha256 = hashlib.sha256(raw).hexdigest()
    store.put_bytes(object_key(sha256), raw)
    return ManifestRef(key=object_key(sha256), sha256=sha256, digest=manifest.digest())


def served(ref: ManifestRef, *, endpoint: str = "churn", version: int = 1, **facts: Any) -> ServedVersion:
    return ServedVersion(
        model_id=facts.pop("model_id", UUID(int=1)),
        name=endpoint,
        endpoint=endpoint,
        project_id=PROJECT,
        framework="lightgbm",
        model_type=Task.CLASSIFICATION,
        version=version,
        manifest=ref,
        deployment_id=facts.pop("deployment_id", uuid4()),
    )
