"""Who is calling: api-server is asked, and its answer is trusted for two seconds.

Only while api-server is unreachable does the last positive answer stay good, within limits. A notice that something
has ended makes an answer that rests on it worthless at once, also one that is still under way.
"""

import asyncio
import time
from collections import deque
from collections.abc import Sequence
from itertools import islice
from uuid import UUID

from ml_service.serving import metrics
from ml_service.serving.control_plane import ControlPlane, Unreachable
from ml_service.serving.credentials import Credential
from ml_service.serving.errors import ControlPlaneAway, NotSignedIn
from ml_service.serving.known_callers import Known, KnownCallers
from ml_service.settings import Settings
from platform_kit.contract.access import CredentialKind, Notice, Principal
from platform_kit.plumbing.rate_limits import RequestLimits

STRANGERS_AT_ONCE = 20
"""However many unknown credentials arrive, there is a connection left to ask about those that are known."""
TIMES_ASKED = 3
REMEMBERED_ENDINGS = 1000

Asking = asyncio.Task[Known | None]


class Principals:
    def __init__(self, control: ControlPlane, settings: Settings) -> None:
        self._control, self._settings = control, settings
        self.known = KnownCallers(
            settings.ml_cache_dir / "access.json", denial_seconds=settings.auth_denial_seconds
        )
        self._asking: dict[str, Asking] = {}
        self._strangers = asyncio.Semaphore(STRANGERS_AT_ONCE)
        self._endings: deque[UUID] = deque(maxlen=REMEMBERED_ENDINGS)
        self._heard = 0

    async def identify(self, credential: Credential, limits: RequestLimits) -> Principal:
        """Whose credential this is. Raises NotSignedIn, ControlPlaneAway, TooManyRequests."""
        principal = self.at_once(credential)
        if principal is not None:
            return principal
        digest = credential.digest
        known = self.known.find(digest)
        if known is None:
            await self._admit_stranger(digest, limits)
        try:
            found = await asyncio.shield(self._ask(digest, credential, is_stranger=known is None))
        except Unreachable:
            found = self._stale(digest)
        if found is None:
            raise NotSignedIn
        return found.principal

    def at_once(self, credential: Credential) -> Principal | None:
        """Whose credential this is, if that was asked a moment ago; else None."""
        digest = credential.digest
        known = self.known.find(digest)
        if known is None or not self._is_good(known):
            return None
        if known.age_seconds > self._settings.auth_fresh_seconds:
            self._ask(digest, credential, is_stranger=False)
        return known.principal

    def forget(self, notices: Sequence[Notice]) -> None:
        """Believe nothing any more that rests on what has ended or changed."""
        ended = [each.id for each in notices]
        self._endings.extend(ended)
        self._heard += len(ended)
        metrics.FORGOTTEN_ACCESS.inc(self.known.forget(set(ended)))

    async def _admit_stranger(self, digest: str, limits: RequestLimits) -> None:
        """Refuse what was just denied, and an address that tries one credential after the other."""
        if self.known.is_denied(digest):
            raise NotSignedIn
        if digest not in self._asking:
            await limits.require_address("introspection", self._settings.introspection_limit_address)

    def _is_good(self, known: Known) -> bool:
        return 0 <= known.age_seconds < self._settings.auth_positive_seconds and not known.has_expired

    def _stale(self, digest: str) -> Known:
        """api-server is away: the last positive answer holds until the credential itself ends."""
        known = self.known.find(digest)
        if known is None or known.has_expired:
            raise ControlPlaneAway
        lifetime_is_unknown = known.principal.expires_at is None or known.kind is CredentialKind.API_KEY
        if lifetime_is_unknown and known.age_seconds > self._settings.auth_stale_max:
            raise ControlPlaneAway
        metrics.STALE_ACCESS.inc()
        return known

    def _ask(self, digest: str, credential: Credential, *, is_stranger: bool) -> Asking:
        task = self._asking.get(digest)
        if task is None:
            task = asyncio.create_task(self._ask_now(digest, credential, is_stranger=is_stranger))
            self._asking[digest] = task
            task.add_done_callback(lambda done: self._asked(digest, done))
        return task

    async def _ask_now(self, digest: str, credential: Credential, *, is_stranger: bool) -> Known | None:
        for _ in range(TIMES_ASKED):
            heard, asked_at = self._heard, time.time()
            principal = await self._introspect(credential, is_stranger=is_stranger)
            if principal is None:
                self.known.deny(digest)
                return None
            if not self._ended_since(heard, principal):
                known = Known(principal, asked_at, credential.kind)
                self.known.keep(digest, known)
                return known
        raise Unreachable("it changed each time while it was asked")

    async def _introspect(self, credential: Credential, *, is_stranger: bool) -> Principal | None:
        if not is_stranger:
            return await self._control.introspect(credential.kind, credential.text)
        try:
            async with asyncio.timeout(self._settings.auth_timeout_seconds):
                await self._strangers.acquire()
        except TimeoutError:
            raise Unreachable("too many strangers at once") from None
        try:
            return await self._control.introspect(credential.kind, credential.text)
        finally:
            self._strangers.release()

    def _ended_since(self, heard: int, principal: Principal) -> bool:
        """Whether a notice came after api-server was asked: the answer may be from before what it tells of."""
        count = self._heard - heard
        if count > len(self._endings):
            return True  # too many to remember which
        return principal.rests_on(set(islice(reversed(self._endings), count)))

    def _asked(self, digest: str, task: Asking) -> None:
        self._asking.pop(digest, None)
        if not task.cancelled():
            task.exception()  # a refresh that failed is tried again by the next request
