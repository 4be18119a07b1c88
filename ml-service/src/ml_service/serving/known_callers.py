"""What api-server last said of callers: who they are, or that they are nobody.

The two are kept apart, each within bounds: however many credentials somebody invents, nobody who is known is forgotten
for them. Kept on disk is who is known, under the SHA-256 of the credential, never the credential.
"""

import asyncio
import json
import time
from collections import OrderedDict
from collections.abc import Set
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from uuid import UUID

import structlog

from ml_service.artifacts.files import write_private
from platform_kit.contract.access import CredentialKind, Principal

KEPT = 10_000
DENIALS_KEPT = 10_000
SAVE_SECONDS = 2.0
BREATH_SECONDS = 0.2
"""Between two writes, however much is forgotten."""

log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class Known:
    """asked_at: wall-clock seconds, so that it can be read back after a restart."""

    principal: Principal
    asked_at: float
    kind: CredentialKind

    @property
    def age_seconds(self) -> float:
        return time.time() - self.asked_at

    @property
    def has_expired(self) -> bool:
        ends = self.principal.expires_at
        return ends is not None and ends <= datetime.now(UTC)


class KnownCallers:
    """Digests of credentials to what they are good for."""

    def __init__(self, path: Path, *, denial_seconds: float) -> None:
        self._path, self._denial_seconds = path, denial_seconds
        self._known: OrderedDict[str, Known] = OrderedDict()
        self._denied: OrderedDict[str, float] = OrderedDict()
        self._is_unsaved = False
        self._has_forgotten = asyncio.Event()
        self._load()

    def __len__(self) -> int:
        return len(self._known) + len(self._denied)

    def find(self, digest: str) -> Known | None:
        return self._known.get(digest)

    def is_denied(self, digest: str) -> bool:
        """Whether api-server has just said so."""
        denied_at = self._denied.get(digest)
        return denied_at is not None and time.monotonic() - denied_at < self._denial_seconds

    def keep(self, digest: str, known: Known) -> None:
        self._denied.pop(digest, None)
        self._known[digest] = known
        self._known.move_to_end(digest)
        while len(self._known) > KEPT:
            self._known.popitem(last=False)
        self._is_unsaved = True

    def deny(self, digest: str) -> None:
        if self._known.pop(digest, None) is not None:
            self._is_unsaved = True
        self._denied[digest] = time.monotonic()
        self._denied.move_to_end(digest)
        while len(self._denied) > DENIALS_KEPT:
            self._denied.popitem(last=False)

    def forget(self, ended: Set[UUID]) -> int:
        """Drop everybody who rests on one of these; returns how many."""
        gone = [digest for digest, known in self._known.items() if known.principal.rests_on(ended)]
        for digest in gone:
            del self._known[digest]
        if gone:
            self._is_unsaved = True
            self._has_forgotten.set()
        return len(gone)

    async def save_forever(self) -> None:
        """Keep it on disk, so that a restart while api-server is away changes nothing; the forgotten leave at once."""
        while True:
            with suppress(TimeoutError):
                async with asyncio.timeout(SAVE_SECONDS):
                    await self._has_forgotten.wait()
            await self.save()
            await asyncio.sleep(BREATH_SECONDS)

    async def save(self) -> None:
        self._has_forgotten.clear()
        if not self._is_unsaved:
            return
        self._is_unsaved = False
        try:
            await asyncio.to_thread(self._write, dict(self._known))
        except OSError as error:
            log.warning("access.not_saved", error=str(error))

    def _write(self, known: dict[str, Known]) -> None:
        body = {
            digest: {
                "principal": each.principal.model_dump(mode="json"),
                "asked_at": each.asked_at,
                "kind": each.kind,
            }
            for digest, each in known.items()
        }
        write_private(self._path, json.dumps(body).encode())

    def _load(self) -> None:
        try:
            body = json.loads(self._path.read_bytes())
            for digest, each in body.items():
                principal = Principal.model_validate(each["principal"])
                self._known[digest] = Known(principal, each["asked_at"], CredentialKind(each["kind"]))
        except FileNotFoundError:
            return
        except (OSError, ValueError, KeyError, TypeError, AttributeError):
            log.warning("access.cache_unreadable")
