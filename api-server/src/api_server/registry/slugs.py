"""An endpoint's name: readable in a URL, stable, never mistaken for an id."""

import re
import unicodedata
from uuid import UUID

LONGEST = 80
RESERVED = frozenset({"demo_model_1", "demo_model_2"})


def slug_of(name: str) -> str:
    """`Churn (EU) v2` becomes `churn-eu-v2`; a name without Latin letters or digits becomes `model`."""
    plain = unicodedata.normalize("NFKD", name).encode("ascii", "ignore").decode().lower()
    slug = re.sub(r"[^a-z0-9_]+", "-", plain).strip("-_")[:LONGEST].rstrip("-_") or "model"
    return f"model-{slug}" if slug in RESERVED or _is_uuid(slug) else slug


def _is_uuid(text: str) -> bool:
    try:
        UUID(text)
    except ValueError:
        return False
    return True
