"""The first signal asks, a later one forces, and one gesture is one wish."""

import asyncio
import os
import signal

from embedded import interrupts
from embedded.interrupts import Interrupts


async def received(*pauses: float) -> tuple[bool, int]:
    """Send a signal after each pause; returns whether the end was asked for, and how often it was forced."""
    forced: list[None] = []
    made = Interrupts(force=lambda: forced.append(None))
    for pause in pauses:
        await asyncio.sleep(pause)
        os.kill(os.getpid(), signal.SIGTERM)
    await asyncio.sleep(0.01)
    return made.asked.is_set(), len(forced)


async def test_nothing_is_asked_before_a_signal() -> None:
    assert await received() == (False, 0)


async def test_the_first_asks() -> None:
    assert await received(0) == (True, 0)


async def test_make_passing_it_on_does_not_force() -> None:
    assert await received(0, 0.05) == (True, 0)


async def test_a_second_wish_forces() -> None:
    assert await received(0, interrupts.SAME_GESTURE_SECONDS + 0.05) == (True, 1)
