"""Password hashes: argon2id, checked in a few threads at a time so that a crowd of logins does not eat the memory."""

import asyncio
import secrets
from collections import Counter
from collections.abc import AsyncIterator, Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass
from functools import cached_property
from typing import TypeVar

import structlog
from passlib.context import CryptContext

from api_server.auth.errors import TooManyLogins
from api_server.auth.password_rules import normalised
from platform_kit.plumbing.client_address import network_of

Result = TypeVar("Result")

AT_ONCE = 2
LONGEST_QUEUE = 100
MOST_OF_ONE_NETWORK = 60
AT_ONCE_KNOWN = 1
LONGEST_QUEUE_KNOWN = 50
"""For those who have signed in from where they call before, on top of the others."""
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
        self._threads = ThreadPoolExecutor(AT_ONCE + AT_ONCE_KNOWN, thread_name_prefix="passwords")
        self._hasher = _Hasher()
        self._line = _Line(AT_ONCE, LONGEST_QUEUE)
        self._line_of_the_known = _Line(AT_ONCE_KNOWN, LONGEST_QUEUE_KNOWN)
        self._from: Counter[str] = Counter()

    @asynccontextmanager
    async def turn(self, *, is_known: bool = False, address: str | None = None) -> AsyncIterator[Turn]:
        """Wait until it is the caller's turn; raises TooManyLogins when too many wait already.

        is_known: whoever has been here before waits in a line of their own when the other is full, so that a crowd of
        strangers does not keep them out. address: no network may fill the line alone.

        What a caller does inside is done before the next one begins: a login asks its throttle, checks the password
        with the turn's own `verify`, and notes the failure, so that guesses sent all at once are counted one by one.
        """
        network = network_of(address) if address else None
        if network is not None and self._from[network] >= MOST_OF_ONE_NETWORK and not is_known:
            raise TooManyLogins
        line = self._line_of_the_known if is_known and self._line.is_busy else self._line
        with self._counted(network):
            async with line.turn():
                yield Turn(self._threads, self._hasher)

    @contextmanager
    def _counted(self, network: str | None) -> Iterator[None]:
        if network is None:
            yield
            return
        self._from[network] += 1
        try:
            yield
        finally:
            self._from[network] -= 1
            if not self._from[network]:
                del self._from[network]

    async def hash(self, password: str) -> str:
        async with self.turn() as turn:
            return await turn.hash(password)

    async def verify(self, password: str, password_hash: str | None) -> Verdict:
        """As a turn's `verify`, for callers with nothing else to do in it."""
        async with self.turn() as turn:
            return await turn.verify(password, password_hash)


class _Line:
    def __init__(self, at_once: int, longest: int) -> None:
        self._slots, self._longest, self._waiting = asyncio.Semaphore(at_once), longest, 0

    @property
    def is_busy(self) -> bool:
        return self._slots.locked()

    @asynccontextmanager
    async def turn(self) -> AsyncIterator[None]:
        if self._waiting >= self._longest:
            raise TooManyLogins
        self._waiting += 1
        try:
            async with self._slots:
                yield
        finally:
            self._waiting -= 1


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
