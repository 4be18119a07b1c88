"""Password hashes: argon2id, checked in a few threads at a time so that a crowd of logins does not eat the memory."""

import asyncio
import secrets
from collections.abc import AsyncIterator, Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager
from dataclasses import dataclass
from functools import cached_property
from typing import TypeVar

import structlog
from passlib.context import CryptContext

from api_server.auth.errors import TooManyLogins
from api_server.auth.password_rules import normalised

Result = TypeVar("Result")

AT_ONCE = 2
LONGEST_QUEUE = 100
LONGEST_BYTES = 4096
"""What the library takes; a new password is much shorter (schemas)."""

log = structlog.get_logger(__name__)

_context = CryptContext(
    schemes=["argon2"],
    argon2__type="ID",
    argon2__memory_cost=19456,
    argon2__time_cost=2,
    argon2__parallelism=1,
)


@dataclass(frozen=True)
class Verdict:
    """Whether a password is right: `if await passwords.verify(...)`.

    new_hash: what to keep from now on, when the kept hash is of an older kind.
    """

    is_right: bool
    new_hash: str | None = None

    def __bool__(self) -> bool:
        return self.is_right


class Turn:
    """Leave to use one of the few threads; `Passwords.turn` gives it."""

    def __init__(self, threads: ThreadPoolExecutor, hasher: "_Hasher") -> None:
        self._threads, self._hasher = threads, hasher

    async def hash(self, password: str) -> str:
        return await self._in_thread(lambda: self._hasher.hash(password))

    async def verify(self, password: str, password_hash: str | None) -> Verdict:
        """Check a password; without a hash it takes as long as with one, so that time does not tell who exists."""
        return await self._in_thread(lambda: self._hasher.verify(password, password_hash))

    async def _in_thread(self, work: Callable[[], Result]) -> Result:
        return await asyncio.get_running_loop().run_in_executor(self._threads, work)


class Passwords:
    """One for each process."""

    def __init__(self) -> None:
        # Threads of its own: a cancelled request gives up its turn, not the memory that its thread still holds.
        self._threads = ThreadPoolExecutor(AT_ONCE, thread_name_prefix="passwords")
        self._hasher = _Hasher()
        self._slots = asyncio.Semaphore(AT_ONCE)
        self._waiting = 0

    @asynccontextmanager
    async def turn(self) -> AsyncIterator[Turn]:
        """Wait until it is the caller's turn; raises TooManyLogins when too many wait already.

        What a caller does inside is done before the next one begins: a login asks its throttle, checks the password
        with the turn's own `verify`, and notes the failure, so that guesses sent all at once are counted one by one.
        """
        if self._waiting >= LONGEST_QUEUE:
            raise TooManyLogins
        self._waiting += 1
        try:
            async with self._slots:
                yield Turn(self._threads, self._hasher)
        finally:
            self._waiting -= 1

    async def hash(self, password: str) -> str:
        async with self.turn() as turn:
            return await turn.hash(password)

    async def verify(self, password: str, password_hash: str | None) -> Verdict:
        """As a turn's `verify`, for callers with nothing else to do in it."""
        async with self.turn() as turn:
            return await turn.verify(password, password_hash)


class _Hasher:
    """What runs in the threads."""

    @cached_property
    def _dummy(self) -> str:
        return self.hash(secrets.token_hex())

    def hash(self, password: str) -> str:
        return str(_context.hash(_bytes_of(normalised(password))))

    def verify(self, password: str, password_hash: str | None) -> Verdict:
        dummy = self._dummy  # made at everyone's first check, not at the first unknown name's
        if not _fits(password):
            password, password_hash = "", None
        known = dummy if password_hash is None else password_hash
        # As it was sent, too: there are hashes from before there was one form.
        forms = dict.fromkeys([normalised(password), password])
        form = next((each for each in forms if self._matches(each, known)), None)
        if form is None or password_hash is None:
            return Verdict(is_right=False)
        is_current = form == normalised(password) and not _context.needs_update(known)
        return Verdict(is_right=True, new_hash=None if is_current else self.hash(password))

    def _matches(self, password: str, password_hash: str) -> bool:
        try:
            return bool(_context.verify(_bytes_of(password), password_hash))
        except ValueError:
            log.warning("password.hash_unreadable")
            return bool(_context.verify(_bytes_of(password), self._dummy))


def _fits(password: str) -> bool:
    return len(password) <= LONGEST_BYTES and all(
        len(_bytes_of(each)) <= LONGEST_BYTES for each in (password, normalised(password))
    )


def _bytes_of(password: str) -> bytes:
    """All of it, and whatever JSON let through: half a surrogate pair has no other bytes."""
    return password.encode("utf-8", "surrogatepass")


passwords = Passwords()
