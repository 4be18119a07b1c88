"""Password hashes: argon2id, checked in a few threads at a time so that a crowd of logins does not eat the memory."""

import asyncio
from collections.abc import Callable
from typing import TypeVar

from passlib.context import CryptContext

from api_server.auth.errors import TooManyLogins

Result = TypeVar("Result")

AT_ONCE = 2
LONGEST_QUEUE = 100

_context = CryptContext(
    schemes=["argon2"],
    argon2__type="ID",
    argon2__memory_cost=19456,
    argon2__time_cost=2,
    argon2__parallelism=1,
)


class Passwords:
    """One for each process."""

    def __init__(self) -> None:
        self._slots = asyncio.Semaphore(AT_ONCE)
        self._waiting = 0
        self._dummy: str | None = None

    async def hash(self, password: str) -> str:
        return await self._in_turn(lambda: str(_context.hash(password)))

    async def verify(self, password: str, password_hash: str | None) -> bool:
        """Check a password; without a hash it takes as long as with one, so that time does not tell who exists."""
        if password_hash is None:
            self._dummy = self._dummy or await self.hash("nobody has this password")
        known = password_hash or self._dummy
        matches = await self._in_turn(lambda: bool(_context.verify(password, known)))
        return matches and password_hash is not None

    async def _in_turn(self, work: Callable[[], Result]) -> Result:
        if self._waiting >= LONGEST_QUEUE:
            raise TooManyLogins
        self._waiting += 1
        try:
            async with self._slots:
                return await asyncio.to_thread(work)
        finally:
            self._waiting -= 1


passwords = Passwords()
