"""Python's collector looks through all objects at times, and lets nobody work meanwhile: most of them are libraries."""

import gc
import sys

_known_modules = 0


def settle() -> None:
    """Leave out of later looks what is there now, if libraries have been imported since: they stay as long as we do."""
    global _known_modules
    if len(sys.modules) == _known_modules:
        return
    _known_modules = len(sys.modules)
    gc.collect()
    gc.freeze()
