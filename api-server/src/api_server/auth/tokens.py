"""Access tokens: signed, short, and without roles. The only module that touches python-jose.

The library accepts more than we do (a missing `aud`, `exp` as text, an unknown `crit`, any `typ`), and some input makes
it raise what is not its own error. So a token is looked at before and after, and whatever is raised means: invalid.
"""

import hashlib
import hmac
import json
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

from jose import jwt
from jose.utils import base64url_decode

ALGORITHM = "HS256"
TYPE = "at+jwt"
ISSUER = "platform"
AUDIENCE = "platform-api"
LONGEST_TOKEN = 2048
LONGEST_HEADER = 512
_HEADER_KEYS = {"alg", "typ", "kid"}
_CLAIMS: dict[str, type] = {
    "iss": str,
    "aud": str,
    "sub": str,
    "sid": str,
    "jti": str,
    "iat": int,
    "exp": int,
}


class TokenInvalid(Exception):
    """Why is not said: the caller learns only that it does not hold."""


@dataclass(frozen=True)
class AccessClaims:
    user_id: UUID
    session_id: UUID
    expires_at: datetime


class Tokens:
    """Mints and reads tokens with one key. secret: at least 32 bytes, as the settings make sure."""

    def __init__(self, secret: str, *, lifetime_seconds: int) -> None:
        self._key = secret.encode()
        self._lifetime = timedelta(seconds=lifetime_seconds)
        self._key_id = hashlib.sha256(b"kid" + self._key).hexdigest()[:8]

    def mint(self, *, user_id: UUID, session_id: UUID, token_id: str, issued_at: datetime) -> str:
        """Make an access token. The same arguments make the same token, so that a repeated refresh can be answered."""
        claims = {
            "iss": ISSUER,
            "aud": AUDIENCE,
            "sub": str(user_id),
            "sid": str(session_id),
            "jti": token_id,
            "iat": int(issued_at.timestamp()),
            "exp": int((issued_at + self._lifetime).timestamp()),
        }
        return str(
            jwt.encode(claims, self._key, algorithm=ALGORITHM, headers={"typ": TYPE, "kid": self._key_id})
        )

    def read(self, token: str) -> AccessClaims:
        """Verify an access token; raises TokenInvalid."""
        self._look_at(token)
        try:
            claims = jwt.decode(
                token,
                self._key,
                algorithms=[ALGORITHM],
                audience=AUDIENCE,
                issuer=ISSUER,
                options={f"require_{name}": True for name in ("aud", "exp", "iat", "iss", "jti", "sub")},
            )
            return self._claims(claims)
        except Exception as error:  # OverflowError and RecursionError were seen beside the library's own
            raise TokenInvalid from error

    def successor(self, refresh_token: str) -> str:
        """The refresh token that follows this one: derived, so that a retry within the grace gets the same."""
        return hmac.new(self._key, b"refresh" + refresh_token.encode(), hashlib.sha256).hexdigest()

    def _look_at(self, token: str) -> None:
        if len(token) > LONGEST_TOKEN or not token.isascii() or token.count(".") != 2:
            raise TokenInvalid
        first = token.partition(".")[0]
        if len(first) > LONGEST_HEADER:
            raise TokenInvalid
        try:
            header = json.loads(base64url_decode(first.encode()))
        except (ValueError, RecursionError):
            raise TokenInvalid from None
        if not isinstance(header, dict) or set(header) != _HEADER_KEYS:
            raise TokenInvalid
        if (header["alg"], header["typ"], header["kid"]) != (ALGORITHM, TYPE, self._key_id):
            raise TokenInvalid

    def _claims(self, claims: dict[str, Any]) -> AccessClaims:
        for name, kind in _CLAIMS.items():
            if type(claims.get(name)) is not kind:
                raise TokenInvalid
        return AccessClaims(
            user_id=UUID(claims["sub"]),
            session_id=UUID(claims["sid"]),
            expires_at=datetime.fromtimestamp(claims["exp"], tz=UTC),
        )


def digest_of(refresh_token: str) -> str:
    return hashlib.sha256(refresh_token.encode()).hexdigest()
