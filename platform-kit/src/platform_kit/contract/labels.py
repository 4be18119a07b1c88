"""How a class is spelt as a key of a JSON object."""

import json

from platform_kit.contract.artifact import Label


def label_key(label: Label) -> str:
    """Text as it is; numbers and booleans as JSON writes them: 1, 1.5, true."""
    return label if isinstance(label, str) else json.dumps(label)
