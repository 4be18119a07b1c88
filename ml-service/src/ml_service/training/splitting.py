"""Which rows are learnt from, and which are held out to judge the result."""

import numpy as np
import numpy.typing as npt

from platform_kit.contract.artifact import Split

Positions = npt.NDArray[np.intp]


def split(
    values: npt.NDArray[np.int64] | npt.NDArray[np.float64], *, by_class: bool, fraction: float, seed: int
) -> tuple[Positions, Positions, str]:
    """Return positions to train on and to test on, in random order, and the method.

    Stratified when every class can be on both sides; else random, but every class keeps a row to train on.
    """
    count = len(values)
    held_out = min(max(1, round(count * fraction)), count - 1)
    random = np.random.default_rng(seed)
    if not by_class:
        order = random.permutation(count)
        return order[held_out:], order[:held_out], "random"
    sizes = np.bincount(values.astype(np.int64))
    if sizes.min() >= 2 and held_out >= len(sizes) and count - held_out >= len(sizes):
        quotas = _quotas(sizes, held_out)
        return *_drawn(values, quotas, random), "stratified"
    return *_random_with_every_class(values, sizes, held_out, random), "random"


def describe(train: Positions, test: Positions, *, method: str, fraction: float, dropped: int) -> Split:
    return Split(
        method=method, test_fraction=fraction, train_rows=len(train), test_rows=len(test), dropped_rows=dropped
    )


def _quotas(sizes: npt.NDArray[np.intp], held_out: int) -> npt.NDArray[np.intp]:
    """Rows of each class to hold out: in proportion, by largest remainder, at least 1 and never all of them."""
    exact = sizes * (held_out / sizes.sum())
    quotas = np.clip(np.floor(exact).astype(np.intp), 1, sizes - 1)
    by_remainder = np.argsort(quotas - exact, kind="stable")
    for change in (1, -1):
        order = by_remainder if change == 1 else by_remainder[::-1]
        while (held_out - quotas.sum()) * change > 0:
            movable = [each for each in order if 1 <= quotas[each] + change <= sizes[each] - 1]
            for each in movable[: abs(held_out - int(quotas.sum()))]:
                quotas[each] += change
    return quotas


def _drawn(
    values: npt.NDArray[np.int64] | npt.NDArray[np.float64],
    quotas: npt.NDArray[np.intp],
    random: np.random.Generator,
) -> tuple[Positions, Positions]:
    order = random.permutation(len(values))
    is_test = np.zeros(len(values), dtype=bool)
    for number, quota in enumerate(quotas):
        members = order[values[order] == number]
        is_test[members[:quota]] = True
    return order[~is_test[order]], order[is_test[order]]


def _random_with_every_class(
    values: npt.NDArray[np.int64] | npt.NDArray[np.float64],
    sizes: npt.NDArray[np.intp],
    held_out: int,
    random: np.random.Generator,
) -> tuple[Positions, Positions]:
    order = random.permutation(len(values))
    left, test = sizes.copy(), []
    for position in order:
        number = int(values[position])
        if len(test) < held_out and left[number] > 1:
            left[number] -= 1
            test.append(position)
    chosen = set(test)
    train = [position for position in order if position not in chosen]
    return np.array(train, dtype=np.intp), np.array(test, dtype=np.intp)
