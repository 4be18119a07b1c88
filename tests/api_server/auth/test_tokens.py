"""The fence around python-jose: whatever PyJWT refuses, ours refuses; and what neither should take."""

import base64
import hashlib
import hmac
import json
import time
from datetime import UTC, datetime
from typing import Any
from uuid import UUID, uuid4

import jwt as pyjwt
import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa

from api_server.auth.tokens import AUDIENCE, ISSUER, TYPE, TokenInvalid, Tokens

SECRET = "a signing key for tests only, of 32 bytes or more"
USER, SESSION = uuid4(), uuid4()


@pytest.fixture
def tokens() -> Tokens:
    return Tokens(SECRET, lifetime_seconds=900)


def minted(tokens: Tokens, *, at: datetime | None = None) -> str:
    return tokens.mint(user_id=USER, session_id=SESSION, token_id="t", issued_at=at or datetime.now(UTC))


def claims(**changed: Any) -> dict[str, Any]:
    now = int(time.time())
    good = {
        "iss": ISSUER,
        "aud": AUDIENCE,
        "sub": str(USER),
        "sid": str(SESSION),
        "jti": "t",
        "iat": now,
        "exp": now + 900,
    }
    return {name: value for name, value in {**good, **changed}.items() if value is not None}


def header_of(token: str) -> dict[str, Any]:
    found: dict[str, Any] = pyjwt.get_unverified_header(token)
    return found


def encode(part: Any) -> str:
    raw = part if isinstance(part, bytes) else json.dumps(part).encode()
    return base64.urlsafe_b64encode(raw).decode().rstrip("=")


def signed(tokens: Tokens, body: Any, *, key: Any = SECRET, algorithm: str = "HS256", **header: Any) -> str:
    heads = {**header_of(minted(tokens)), "alg": algorithm, **header}
    return pyjwt.encode(body, key, algorithm=algorithm, headers=heads)


def pyjwt_takes(token: str) -> bool:
    try:
        pyjwt.decode(
            token,
            SECRET,
            algorithms=["HS256"],
            audience=AUDIENCE,
            issuer=ISSUER,
            options={"require": ["exp", "iat", "iss", "aud", "sub", "jti"]},
        )
    except Exception:
        return False
    return True


def ours_takes(tokens: Tokens, token: str) -> bool:
    try:
        tokens.read(token)
    except TokenInvalid:
        return False
    return True


class TestRead:
    def test_takes_what_was_minted(self, tokens: Tokens) -> None:
        read = tokens.read(minted(tokens))

        assert (read.user_id, read.session_id) == (USER, SESSION)
        assert 895 < (read.expires_at - datetime.now(UTC)).total_seconds() <= 900

    def test_the_same_arguments_make_the_same_token(self, tokens: Tokens) -> None:
        at = datetime(2026, 1, 1, tzinfo=UTC)

        assert minted(tokens, at=at) == minted(tokens, at=at)

    def test_says_nothing_of_roles(self, tokens: Tokens) -> None:
        body = pyjwt.decode(minted(tokens), options={"verify_signature": False})

        assert set(body) == {"iss", "aud", "sub", "sid", "jti", "iat", "exp"}
        assert header_of(minted(tokens))["typ"] == TYPE

    @pytest.mark.parametrize(
        "changed",
        [
            {"aud": None},
            {"aud": "somebody else"},
            {"aud": [AUDIENCE]},
            {"iss": None},
            {"iss": "somebody else"},
            {"sub": None},
            {"sub": 5},
            {"sub": "no uuid"},
            {"sid": None},
            {"sid": ["x"]},
            {"jti": None},
            {"iat": None},
            {"iat": "1"},
            {"exp": None},
            {"exp": "9999999999"},
            {"exp": 9999999999.5},
            {"exp": True},
            {"exp": 1},
            {"exp": 10**400},
            {"nbf": 9999999999},
        ],
        ids=str,
    )
    def test_refuses_forged_claims(self, tokens: Tokens, changed: dict[str, Any]) -> None:
        body = claims(**changed)
        payload = encode(json.dumps(body).encode())
        token = _sign_raw(tokens, payload)

        assert not ours_takes(tokens, token)

    @pytest.mark.parametrize(
        "header",
        [
            {"alg": "none"},
            {"alg": "HS512"},
            {"alg": "RS256"},
            {"typ": "JWT"},
            {"typ": None},
            {"kid": "other"},
            {"kid": None},
            {"crit": ["exp"]},
            {"jku": "http://127.0.0.1/keys"},
            {"jwk": {}},
            {"x5u": "http://127.0.0.1/"},
            {"b64": False},
        ],
        ids=str,
    )
    def test_refuses_forged_headers(self, tokens: Tokens, header: dict[str, Any]) -> None:
        heads = {**header_of(minted(tokens)), **header}
        token = _sign_raw(tokens, encode(claims()), header={k: v for k, v in heads.items() if v is not None})

        assert not ours_takes(tokens, token)

    @pytest.mark.parametrize(
        "token",
        [
            "",
            ".",
            "..",
            "a.b",
            "a.b.c",
            "a.b.c.d",
            "é.é.é",
            "x" * 5000,
            encode(b"[" * 300) + ".e30.x",
            encode(b"{" * 20) + ".e30.x",
            encode({"alg": "HS256"}) + "." + encode({"exp": 1}) + ".",
            encode(b"\xff\xfe") + ".e30.x",
            "\0.\0.\0",
        ],
    )
    def test_refuses_what_is_no_token(self, tokens: Tokens, token: str) -> None:
        assert not ours_takes(tokens, token)

    def test_refuses_infinity_and_depth_inside(self, tokens: Tokens) -> None:
        body = json.dumps(claims()).replace(f'"exp": {claims()["exp"]}', '"exp": Infinity')
        deep = json.dumps(claims()).rstrip("}") + ', "x": ' + "[" * 400 + "]" * 400 + "}"

        assert not ours_takes(tokens, _sign_raw(tokens, encode(body.encode())))
        assert ours_takes(tokens, _sign_raw(tokens, encode(json.dumps(claims()).encode())))
        ours_takes(tokens, _sign_raw(tokens, encode(deep.encode())))

    def test_refuses_another_key_and_a_changed_body(self, tokens: Tokens) -> None:
        good = minted(tokens)
        head, _, signature = good.split(".")

        assert not ours_takes(tokens, signed(tokens, claims(), key="another key, which is also long enough"))
        assert not ours_takes(tokens, f"{head}.{encode(claims(sub=str(UUID(int=1))))}.{signature}")
        assert not ours_takes(tokens, good[:-2] + ("AA" if not good.endswith("AA") else "BB"))

    def test_refuses_a_token_signed_with_a_public_key_as_secret(self, tokens: Tokens) -> None:
        public = (
            rsa.generate_private_key(public_exponent=65537, key_size=2048)
            .public_key()
            .public_bytes(serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo)
        )

        assert not ours_takes(tokens, _sign_raw(tokens, encode(claims()), key=public))

    def test_is_at_least_as_strict_as_pyjwt(self, tokens: Tokens) -> None:
        """Every single change of a good token that PyJWT refuses, we refuse."""
        good = minted(tokens)
        for place in range(0, len(good), 3):
            for letter in ("A", "z", "-", ".", "="):
                mutant = good[:place] + letter + good[place + 1 :]
                assert pyjwt_takes(mutant) or not ours_takes(tokens, mutant), mutant


def _sign_raw(
    tokens: Tokens, payload: str, *, header: dict[str, Any] | None = None, key: bytes = SECRET.encode()
) -> str:
    """Sign what no library would: the HMAC itself is right."""
    head = encode(header if header is not None else header_of(minted(tokens)))
    signature = hmac.new(key, f"{head}.{payload}".encode(), hashlib.sha256).digest()
    return f"{head}.{payload}.{encode(signature)}"
