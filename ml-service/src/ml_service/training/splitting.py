"""Which rows are learnt from, and which are held out to judge the result."""

from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt

Positions: TypeAlias = npt.NDArray[np.intp]
Values: TypeAlias = npt.NDArray[Any]
"""Class numbers (int64) or target values (float64)."""


def split(values: Values, *, by_class: bool, fraction: float, seed: int) -> tuple[Positions, Positions, str]:
    """Return positions to train on and to test on, in random order, and the method.

    Stratified when every class can be on both sides; else random, but every class keeps a row to train on.
    """
    count = len(values)
    held_out = min(max(1, round(count * fraction)), count - 1)
    random = np.random.default_rng(seed)
    if not by_class:
        order = random.permutation(count)
        return order[held_out:], order[:held_out], "random"
    sizes: Positions = np.bincount(values.astype(np.int64))
    if sizes.min() >= 2 and held_out >= len(sizes) and count - held_out >= len(sizes):
        quotas = _quotas(sizes, held_out)
        return *_drawn(values, quotas, random), "stratified"
    return *_random_with_every_class(values, sizes, held_out, random), "random"


def _quotas(sizes: Positions, held_out: int) -> Positions:
    """Rows of each class to hold out: in proportion, by largest remainder, at least 1 and never all."""
    exact = sizes * (held_out / sizes.sum())
    quotas: Positions = np.clip(np.floor(exact).astype(np.intp), 1, sizes - 1)
    while short := held_out - int(quotas.sum()):
        change = 1 if short > 0 else -1
        can_change = (quotas + change >= 1) & (quotas + change <= sizes - 1)
        furthest = np.argsort((quotas - exact) * change, kind="stable")
        quotas[furthest[can_change[furthest]][: abs(short)]] += change
    return quotas


def _drawn(
    values: Values,
    quotas: Positions,
    random: np.random.Generator,
) -> tuple[Positions, Positions]:
    order = random.permutation(len(values))
    is_test = np.zeros(len(values), dtype=bool)
    for number, quota in enumerate(quotas):
        members = order[values[order] == number]
        is_test[members[:quota]] = True
    return order[~is_test[order]], order[is_test[order]]


def _random_with_every_class(
    values: Values,
    sizes: Positions,
    held_out: int,
    random: np.random.Generator,
) -> tuple[Positions, Positions]:
    order = random.permutation(len(values))
    left = sizes.copy()
    test: list[int] = []
    for position in order:
        number = int(values[position])
        if len(test) < held_out and left[number] > 1:
            left[number] -= 1
            test.append(int(position))
    chosen = set(test)
    train = [position for position in order if position not in chosen]
    return np.array(train, dtype=np.intp), np.array(test, dtype=np.intp)
