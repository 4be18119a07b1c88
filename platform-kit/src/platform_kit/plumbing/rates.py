"""Rates as they are written in settings: `3000/minute`, `20 per 10 minutes`."""

import functools

import limits
from limits import RateLimitItem


@functools.lru_cache(maxsize=64)
def rate(text: str) -> RateLimitItem:
    """Raises ValueError with a sentence."""
    try:
        found = limits.parse_many(text)
    except ValueError:
        found = []
    if len(found) != 1 or found[0].amount < 1:
        raise ValueError(f"write one rate such as 3000/minute or 20/10 minutes, or off, in place of {text!r}")
    return found[0]


def in_words(item: RateLimitItem) -> str:
    name = item.GRANULARITY.name
    period = name if item.multiples == 1 else f"{item.multiples} {name}s"
    return f"{item.amount} requests per {period}"
