"""What may have been meant. Comparing texts takes its time, and a request may hold many: long ones are left alone."""

import difflib
from collections.abc import Iterable

LONGEST = 64
LIKENESS = 0.6


def meant(text: str, known: Iterable[str]) -> str | None:
    """The most similar of the known texts, if one is similar enough."""
    if len(text) > LONGEST:
        return None
    candidates = [each for each in known if len(each) <= LONGEST]
    near = difflib.get_close_matches(text, candidates, n=1, cutoff=LIKENESS)
    return near[0] if near else None
