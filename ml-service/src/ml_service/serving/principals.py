"""Who is calling: api-server is asked, and its answer is trusted for two seconds.

Only while api-server is unreachable does the last positive answer stay good, within limits. What is kept on disk for
that is the SHA-256 of a credential, never the credential.
"""

import asyncio
import hashlib
import json
import time
from collections import OrderedDict
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime

import structlog

from ml_service.artifacts.files import write_private
from ml_service.serving import metrics
from ml_service.serving.control_plane import ControlPlane, Unreachable
from ml_service.serving.errors import ControlPlaneAway, NotSignedIn
from ml_service.settings import Settings
from platform_kit.contract.access import CredentialKind, Principal

KEPT = 10_000
SAVE_SECONDS = 2.0

log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class _Known:
    """asked_at: wall-clock seconds, so that it can be read back after a restart. principal None: denied."""

    principal: Principal | None
    asked_at: float
    kind: CredentialKind


class Principals:
    def __init__(self, control: ControlPlane, settings: Settings) -> None:
        self._control, self._settings = control, settings
        self._path = settings.ml_cache_dir / "access.json"
        self._known: OrderedDict[str, _Known] = OrderedDict()
        self._asking: dict[str, asyncio.Task[_Known]] = {}
        self._is_unsaved = False
        self._load()

    async def identify(self, headers: Mapping[str, str]) -> Principal | None:
        """The caller, or None without a credential. Raises NotSignedIn, ControlPlaneAway."""
        credential = _credential(headers)
        if credential is None:
            return None
        known = await self._answer(*credential)
        if known.principal is None:
            raise NotSignedIn
        return known.principal

    async def _answer(self, kind: CredentialKind, credential: str) -> _Known:
        key = hashlib.sha256(f"{kind}:{credential}".encode()).hexdigest()
        known = self._known.get(key)
        if known is not None:
            age = time.time() - known.asked_at
            if self._is_good(known, age):
                if age > self._settings.auth_fresh_seconds and known.principal is not None:
                    self._ask(key, kind, credential)
                return known
        try:
            return await asyncio.shield(self._ask(key, kind, credential))
        except Unreachable:
            return self._stale(known)

    def _is_good(self, known: _Known, age: float) -> bool:
        if known.principal is None:
            return 0 <= age < self._settings.auth_denial_seconds
        return 0 <= age < self._settings.auth_positive_seconds and not _has_expired(known.principal)

    def _stale(self, known: _Known | None) -> _Known:
        """api-server is away: the last positive answer holds until the credential itself ends."""
        if known is None or known.principal is None or _has_expired(known.principal):
            raise ControlPlaneAway
        lifetime_is_unknown = known.principal.expires_at is None or known.kind is CredentialKind.API_KEY
        if lifetime_is_unknown and time.time() - known.asked_at > self._settings.auth_stale_max:
            raise ControlPlaneAway
        metrics.STALE_ACCESS.inc()
        return known

    def _ask(self, key: str, kind: CredentialKind, credential: str) -> "asyncio.Task[_Known]":
        task = self._asking.get(key)
        if task is None:
            task = asyncio.create_task(self._ask_now(key, kind, credential))
            self._asking[key] = task
            task.add_done_callback(lambda done: self._asked(key, done))
        return task

    async def _ask_now(self, key: str, kind: CredentialKind, credential: str) -> _Known:
        asked_at = time.time()
        principal = await self._control.introspect(kind, credential)
        known = _Known(principal, asked_at, kind)
        self._known[key] = known
        self._known.move_to_end(key)
        while len(self._known) > KEPT:
            self._known.popitem(last=False)
        self._is_unsaved = True
        return known

    def _asked(self, key: str, task: "asyncio.Task[_Known]") -> None:
        self._asking.pop(key, None)
        if not task.cancelled():
            task.exception()  # a refresh that failed is tried again by the next request

    async def save_forever(self) -> None:
        """Keep the positive answers on disk, so that a restart while api-server is away changes nothing."""
        while True:
            await asyncio.sleep(SAVE_SECONDS)
            if self._is_unsaved:
                self._is_unsaved = False
                try:
                    await asyncio.to_thread(self._save, dict(self._known))
                except OSError as error:
                    log.warning("access.not_saved", error=str(error))

    def _save(self, known: dict[str, _Known]) -> None:
        body = {
            key: {
                "principal": each.principal.model_dump(mode="json"),
                "asked_at": each.asked_at,
                "kind": each.kind,
            }
            for key, each in known.items()
            if each.principal is not None
        }
        write_private(self._path, json.dumps(body).encode())

    def _load(self) -> None:
        try:
            body = json.loads(self._path.read_bytes())
            for key, each in body.items():
                principal = Principal.model_validate(each["principal"])
                self._known[key] = _Known(principal, each["asked_at"], CredentialKind(each["kind"]))
        except FileNotFoundError:
            return
        except (OSError, ValueError, KeyError, TypeError):
            log.warning("access.cache_unreadable")


def _credential(headers: Mapping[str, str]) -> tuple[CredentialKind, str] | None:
    api_key = headers.get("x-api-key")
    if api_key is not None:
        return CredentialKind.API_KEY, api_key
    authorization = headers.get("authorization")
    if authorization is None:
        return None
    scheme, _, token = authorization.partition(" ")
    if scheme.lower() != "bearer" or not token.strip():
        raise NotSignedIn
    return CredentialKind.BEARER, token.strip()


def _has_expired(principal: Principal) -> bool:
    return principal.expires_at is not None and principal.expires_at <= datetime.now(UTC)
