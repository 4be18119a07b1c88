"""Guards logins against guessing, and never locks an owner out.

Counted are an account as one network tries it (at most 100 failures, says NIST SP 800-63B), and a network over all
accounts. Nothing is counted of an account over all networks: whoever guesses from many would lock its owner out. Past a
limit, attempts are let through one by one: slowly, or one a second from where the account has signed in before. Missing
accounts are counted like others.
"""

import hashlib
from typing import Self

from limits import RateLimitItem, RateLimitItemPerHour, RateLimitItemPerSecond
from prometheus_client import Counter

from api_server.auth.errors import LoginsThrottled
from api_server.settings import Settings
from platform_kit.plumbing.client_address import network_of
from platform_kit.plumbing.rate_counters import Counters, ProcessCounters

LOGIN_FAILURES = Counter("mlp_login_failures", "Logins that were refused", ["reason"])
_NAMESPACE = "login"
_ONE_A_SECOND = RateLimitItemPerSecond(1, 1, _NAMESPACE)


class LoginThrottle:
    """A login asks `require`, checks the password, and says how it went.

    An attempt at an account counts from `require` on, until `note_success` says otherwise: guesses sent all at once,
    and guesses whose end we never hear of, are counted one by one.
    """

    def __init__(
        self,
        counters: Counters,
        *,
        failures_per_hour: int,
        failures_per_address_hour: int,
        trickle_seconds: int,
    ) -> None:
        self._counters = counters
        # Counted here as well: should Redis stumble under a flood of guesses, they do not start again from nothing.
        self._here = ProcessCounters()
        self._per_pair = RateLimitItemPerHour(failures_per_hour, 1, _NAMESPACE)
        self._per_address = RateLimitItemPerHour(failures_per_address_hour, 1, _NAMESPACE)
        self._trickle = RateLimitItemPerSecond(1, trickle_seconds, _NAMESPACE)

    @classmethod
    def from_settings(cls, settings: Settings, counters: Counters) -> Self:
        return cls(
            counters,
            failures_per_hour=settings.login_failures_per_hour,
            failures_per_address_hour=settings.login_failures_per_address_hour,
            trickle_seconds=settings.login_trickle_seconds,
        )

    async def require(self, account: str, address: str | None, *, is_known: bool) -> None:
        """Let an attempt through, or raise LoginsThrottled.

        account: the name that was typed. A name and an e-mail address are counted apart, whoever they belong to: one
        count for both would tell that they belong together. is_known: the account has signed in from here before.
        """
        network, pair = _network_key(address), _pair_key(account, address)
        if not is_known and not await self._has_room(self._per_address, network):
            await self._require_turn(_ONE_A_SECOND, network)
        if not await self._count(self._per_pair, pair):
            await self._require_turn(_ONE_A_SECOND if is_known else self._trickle, pair)

    async def note_failure(self, account: str, address: str | None) -> None:
        """Count a wrong password for the address; for the account, `require` has done so."""
        LOGIN_FAILURES.labels("wrong").inc()
        await self._count(self._per_address, _network_key(address))

    async def note_success(self, account: str, address: str | None) -> None:
        pair = _pair_key(account, address)
        await self._here.forget(self._per_pair, pair)
        await self._counters.forget(self._per_pair, pair)

    async def _count(self, limit: RateLimitItem, key: str) -> bool:
        here = await self._here.take(limit, key)
        everywhere = await self._counters.take(limit, key)
        return here.is_allowed and everywhere.is_allowed

    async def _has_room(self, limit: RateLimitItem, key: str) -> bool:
        here = await self._here.peek(limit, key)
        everywhere = await self._counters.peek(limit, key)
        return here.is_allowed and everywhere.is_allowed

    async def _require_turn(self, trickle: RateLimitItem, key: str) -> None:
        reading = await self._counters.take(trickle, key)
        if not reading.is_allowed:
            LOGIN_FAILURES.labels("throttled").inc()
            raise LoginsThrottled(retry_after_seconds=min(reading.reset_seconds, trickle.get_expiry()))


def _pair_key(account: str, address: str | None) -> str:
    return _key("pair", account.lower(), network_of(address))


def _network_key(address: str | None) -> str:
    return _key("network", network_of(address))


def _key(*parts: str) -> str:
    """Short whatever was typed, and without anybody's name or address in it."""
    return hashlib.sha256("\0".join(parts).encode("utf-8", "surrogatepass")).hexdigest()
