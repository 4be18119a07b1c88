"""Writes tokens as api-server would, and otherwise where it is told to, with hmac, json and base64 alone."""

import base64
import hashlib
import hmac
import json
import time
from dataclasses import dataclass
from typing import Any
from uuid import UUID

LIFETIME_SECONDS = 600
LEFT_OUT = object()
"""As the value of a header or claim: it is not there."""


@dataclass(frozen=True)
class Forge:
    """Knows the signing key, and whose token it is."""

    secret: str
    user_id: UUID
    session_id: UUID

    @property
    def key(self) -> bytes:
        return self.secret.encode()

    def header(self, **changed: Any) -> dict[str, Any]:
        key_id = hashlib.sha256(b"kid" + self.key).hexdigest()[:8]
        return _changed({"alg": "HS256", "kid": key_id, "typ": "at+jwt"}, changed)

    def claims(self, **changed: Any) -> dict[str, Any]:
        now = int(time.time())
        good = {
            "iss": "platform",
            "aud": "platform-api",
            "sub": str(self.user_id),
            "sid": str(self.session_id),
            "jti": "0123456789abcdef0123456789abcdef",
            "iat": now,
            "exp": now + LIFETIME_SECONDS,
        }
        return _changed(good, changed)

    def token(
        self, *, header: Any = None, claims: Any = None, key: bytes | None = None, digest: str = "sha256"
    ) -> str:
        """Sign whatever it is: an object is written as JSON, bytes are taken as they are."""
        text = f"{encode(header or self.header())}.{encode(self.claims() if claims is None else claims)}"
        return self.sign(text, key=key, digest=digest)

    def sign(self, text: str, *, key: bytes | None = None, digest: str = "sha256") -> str:
        signature = hmac.new(self.key if key is None else key, text.encode(), digest).digest()
        return f"{text}.{encode(signature)}"

    def with_claims(self, **changed: Any) -> str:
        return self.token(claims=self.claims(**changed))

    def with_header(self, **changed: Any) -> str:
        return self.token(header=self.header(**changed))

    def with_claims_respelled(self, old: str, new: str) -> str:
        """What json.dumps would not write."""
        text = json.dumps(self.claims())
        assert old in text
        return self.token(claims=text.replace(old, new).encode())


def _changed(good: dict[str, Any], changed: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in {**good, **changed}.items() if value is not LEFT_OUT}


def encode(part: Any) -> str:
    raw = part if isinstance(part, bytes) else json.dumps(part).encode()
    return base64.urlsafe_b64encode(raw).decode().rstrip("=")
