"""Access tokens: signed, short, and without roles. The only module that touches python-jose.

The library accepts more than we do (a missing `aud`, `exp` as text, an unknown `crit`, any `typ`), and some input makes
it raise what is not its own error. So a token is looked at before and after, and whatever is raised means: invalid.

A token has one spelling: other bytes than those that were minted are never the same token.
"""

import binascii
import hashlib
import hmac
import json
import re
import time
from base64 import urlsafe_b64decode, urlsafe_b64encode
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any
from uuid import UUID

from jose import jwk, jwt
from jose.backends.base import Key

ALGORITHM = "HS256"
TYPE = "at+jwt"
ISSUER = "platform"
AUDIENCE = "platform-api"
LEEWAY_SECONDS = 10
"""How far our machines' clocks may be apart; no token outlives its end by it."""
LONGEST_TOKEN = 2048
LONGEST_HEADER = 512
SHORTEST_KEY = 32
_SHAPE = re.compile(r"([A-Za-z0-9_-]+)\.([A-Za-z0-9_-]+)\.([A-Za-z0-9_-]+)")
_HEADER: dict[str, type] = {"alg": str, "typ": str, "kid": str}
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
    """Mints tokens with one key; reads them with that and, while keys are changed, with the one before.

    secret, previous: at least 32 bytes, as the settings make sure.
    """

    def __init__(self, secret: str, *, lifetime_seconds: int, previous: str | None = None) -> None:
        secrets = [secret.encode(), *([previous.encode()] if previous else [])]
        if min(len(each) for each in secrets) < SHORTEST_KEY:
            raise ValueError(f"A signing key needs at least {SHORTEST_KEY} bytes.")
        self._secrets = secrets
        self._lifetime_seconds = lifetime_seconds
        self._key_id = _key_id_of(secrets[0])
        # Made into a key here: the library would take the text of a secret for JSON if it looked like it.
        self._keys = {_key_id_of(each): jwk.construct(each, ALGORITHM) for each in secrets}

    def mint(self, *, user_id: UUID, session_id: UUID, token_id: str, issued_at: datetime) -> str:
        """Make an access token. The same arguments make the same token, so that a repeated refresh can be answered."""
        moment = int(issued_at.timestamp())
        claims = {
            "iss": ISSUER,
            "aud": AUDIENCE,
            "sub": str(user_id),
            "sid": str(session_id),
            "jti": token_id,
            "iat": moment,
            "exp": moment + self._lifetime_seconds,
        }
        key, headers = self._keys[self._key_id], {"typ": TYPE, "kid": self._key_id}
        return str(jwt.encode(claims, key, algorithm=ALGORITHM, headers=headers))

    def read(self, token: str) -> AccessClaims:
        """Verify an access token; raises TokenInvalid."""
        try:
            header, claims = _parts_of(token)
            key = self._key_for(_object_in(header))
            # The library's own claims are not used: it parses what we would not.
            jwt.decode(
                token,
                key,
                algorithms=[ALGORITHM],
                audience=AUDIENCE,
                issuer=ISSUER,
                options={f"require_{name}": True for name in ("aud", "exp", "iat", "iss", "jti", "sub")},
            )
            return self._checked(_object_in(claims))
        except Exception as error:  # OverflowError and RecursionError were seen beside the library's own
            raise TokenInvalid from error

    def successors(self, refresh_token: str) -> list[str]:
        """The refresh token that follows this one, by each key, newest first: a retry within the grace gets the same.

        The first is the one to give; the others may have been given before the key was changed.
        """
        message = b"refresh" + refresh_token.encode()
        return [hmac.new(secret, message, hashlib.sha256).hexdigest() for secret in self._secrets]

    def _key_for(self, header: dict[str, Any]) -> Key:
        _require_types(header, _HEADER)
        if (header["alg"], header["typ"]) != (ALGORITHM, TYPE):
            raise TokenInvalid
        return self._keys[header["kid"]]

    def _checked(self, claims: dict[str, Any]) -> AccessClaims:
        _require_types(claims, _CLAIMS)
        now, issued, ends = time.time(), claims["iat"], claims["exp"]
        holds = (
            (claims["iss"], claims["aud"]) == (ISSUER, AUDIENCE)
            and claims["jti"]
            and issued <= now + LEEWAY_SECONDS
            and now < ends
            and issued < ends <= issued + self._lifetime_seconds + LEEWAY_SECONDS
        )
        if not holds:
            raise TokenInvalid
        return AccessClaims(
            user_id=_uuid(claims["sub"]),
            session_id=_uuid(claims["sid"]),
            expires_at=datetime.fromtimestamp(ends, tz=UTC),
        )


def digest_of(refresh_token: str) -> str:
    return hashlib.sha256(refresh_token.encode()).hexdigest()


def _key_id_of(secret: bytes) -> str:
    return hashlib.sha256(b"kid" + secret).hexdigest()[:8]


def _parts_of(token: object) -> tuple[bytes, bytes]:
    """Header and claims, still unread."""
    if not isinstance(token, str) or len(token) > LONGEST_TOKEN:
        raise TokenInvalid
    shape = _SHAPE.fullmatch(token)
    if shape is None or len(shape[1]) > LONGEST_HEADER:
        raise TokenInvalid
    header, claims, _ = (_bytes_in(part) for part in shape.groups())
    return header, claims


def _bytes_in(part: str) -> bytes:
    found = urlsafe_b64decode(part + "=" * (-len(part) % 4))
    if urlsafe_b64encode(found).rstrip(b"=") != part.encode():
        raise binascii.Error("not the one way to write these bytes")
    return found


def _object_in(text: bytes) -> dict[str, Any]:
    found = json.loads(text.decode(), object_pairs_hook=_without_duplicates, parse_constant=_no_constant)
    if not isinstance(found, dict):
        raise TokenInvalid
    return found


def _without_duplicates(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        raise TokenInvalid
    return found


def _no_constant(name: str) -> None:
    raise TokenInvalid


def _require_types(found: dict[str, Any], types: dict[str, type]) -> None:
    """Exactly these names, and exactly these types: `True` is no integer here."""
    if {name: type(value) for name, value in found.items()} != types:
        raise TokenInvalid


def _uuid(text: str) -> UUID:
    found = UUID(text)
    if str(found) != text:
        raise TokenInvalid
    return found
