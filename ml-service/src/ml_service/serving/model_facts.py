"""What is told of a model to those who may ask it."""

from typing import Any

from ml_service.serving.demo_models import rule_of
from ml_service.serving.found import Found
from ml_service.serving.loaded_models import LoadedVersion
from platform_kit.contract.serving import ServedVersion

Facts = dict[str, Any]


def entry(served: ServedVersion, version: LoadedVersion | None, *, is_pinned: bool, public_url: str) -> Facts:
    """A deployed model in the list. version: None if it is not in memory."""
    return {
        "model_id": str(served.model_id),
        "name": served.name,
        "endpoint": served.endpoint,
        "version": served.version,
        "framework": served.framework,
        "model_type": served.model_type,
        "docs_url": docs_url(public_url, served.endpoint),
        **in_memory(version, is_pinned=is_pinned),
    }


def demo_entry(found: Found, *, public_url: str) -> Facts:
    return {
        "model_id": found.model_id,
        "name": found.name,
        "endpoint": found.endpoint,
        "version": found.number,
        "framework": found.framework,
        "model_type": found.model_type,
        "docs_url": docs_url(public_url, found.endpoint),
        **in_memory(found.version, is_pinned=True),
        "metrics": found.version.manifest.metrics,
    }


def facts(found: Found, *, public_url: str) -> Facts:
    """One model, as its deployment answers with it."""
    manifest, servable, rule = found.version.manifest, found.servable, rule_of(found.model_id)
    return {
        "model_id": found.model_id,
        "name": found.name,
        "endpoint": found.endpoint,
        "version": found.number,
        "digest": found.version.digest,
        "framework": found.framework,
        "algorithm": manifest.algorithm,
        "model_type": found.model_type,
        "docs_url": docs_url(public_url, found.endpoint),
        **in_memory(found.version, is_pinned=servable.options.pinned or rule is not None),
        "classes": manifest.classes,
        "metrics": manifest.metrics,
        "rule": rule,
        "options": servable.options.model_dump(mode="json", exclude_defaults=True),
        "contract": servable.contract.model_dump(mode="json"),
    }


def docs_url(public_url: str, endpoint: str) -> str:
    return f"{public_url.rstrip('/')}/models/{endpoint}/docs"


def in_memory(version: LoadedVersion | None, *, is_pinned: bool) -> Facts:
    """memory_bytes: about; load_milliseconds: what the first request after a cold start waits for."""
    if version is None:
        return {"is_loaded": False, "is_pinned": is_pinned}
    return {
        "is_loaded": True,
        "is_pinned": is_pinned,
        "memory_bytes": version.memory_bytes,
        "load_milliseconds": round(version.load_seconds * 1000, 3),
        "microseconds_per_row": round(version.lane.seconds_per_row * 1e6, 1),
    }
