"""Check 200 passwords at once, and print what it cost this process."""

import asyncio
import json
import time
from collections.abc import Awaitable
from contextlib import suppress
from pathlib import Path

from api_server.auth.errors import TooManyLogins
from api_server.auth.passwords import Passwords

CROWD = 200
BEAT_SECONDS = 0.01


class Heart:
    """Beats every 10 ms, and remembers how long it once had to wait, and how big the process was."""

    def __init__(self) -> None:
        self.longest_gap_seconds = 0.0
        self.most_bytes = 0

    async def beat(self) -> None:
        last = time.perf_counter()
        while True:
            await asyncio.sleep(BEAT_SECONDS)
            now = time.perf_counter()
            self.longest_gap_seconds = max(self.longest_gap_seconds, now - last - BEAT_SECONDS)
            self.most_bytes = max(self.most_bytes, own_bytes())
            last = now


def own_bytes() -> int:
    for line in Path("/proc/self/smaps_rollup").read_text().splitlines():
        if line.startswith("Pss:"):
            return int(line.split()[1]) * 1024
    raise LookupError("Pss")


async def is_checked(check: Awaitable[object]) -> bool:
    with suppress(TooManyLogins):
        await check
        return True
    return False


async def main() -> None:
    passwords, heart = Passwords(), Heart()
    kept = await passwords.hash("right")
    before = own_bytes()
    beating = asyncio.create_task(heart.beat())
    await asyncio.sleep(BEAT_SECONDS)
    started = time.perf_counter()
    answers = await asyncio.gather(*(is_checked(passwords.verify("wrong", kept)) for _ in range(CROWD)))
    seconds = time.perf_counter() - started
    beating.cancel()
    found = {
        "growth_bytes": heart.most_bytes - before,
        "longest_gap_seconds": round(heart.longest_gap_seconds, 4),
        "seconds": round(seconds, 2),
        "checked": sum(answers),
        "refused": CROWD - sum(answers),
    }
    print(json.dumps(found))


asyncio.run(main())
