"""Forged and odd tokens, each wrong in one way; everything else about it is right, the signature too.

A case is a name and a function of a `Forge`, which knows the signing key and whose token it is:

    @pytest.mark.parametrize("case", FORGED, ids=str)
    def test_...(case: Case) -> None:
        token = case.token(Forge(secret=..., user_id=..., session_id=...))
"""

import base64
import hmac
import json
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

from tests.api_server.auth.forge import LEFT_OUT, LIFETIME_SECONDS, Forge, encode
from tests.api_server.auth.token_oddities import (
    ADDED_CLAIMS,
    ADDED_HEADERS,
    NO_TOKENS,
    NOT_OBJECTS,
    ODD_CLAIMS,
    ODD_HEADERS,
    ODD_JSON,
    ODD_NUMBERS,
    ODD_SPANS,
    OTHER_KEYS,
    PARTS_OTHERWISE,
    TOKENS_OTHERWISE,
    UUIDS_OTHERWISE,
    Respell,
)

Token = Callable[[Forge], str]


@dataclass(frozen=True)
class Case:
    name: str
    token: Token

    def __str__(self) -> str:
        return self.name


def _claims() -> Iterator[Case]:
    for name, values in ODD_CLAIMS.items():
        for value in [LEFT_OUT, *values]:
            yield Case(f"claim {name}: {_shown(value)}", _claim(name, value))
    for name, value in ADDED_CLAIMS.items():
        yield Case(f"claim added: {name}", _claim(name, value))
    for name in ("sub", "sid"):
        for how, respell in UUIDS_OTHERWISE.items():
            yield Case(f"claim {name}: {how}", _claim_respelled(name, respell))


def _shown(value: object) -> str:
    return "left out" if value is LEFT_OUT else repr(value)[:30]


def _claim(name: str, value: object) -> Token:
    return lambda forge: forge.with_claims(**{name: value})


def _claim_respelled(name: str, respell: Respell) -> Token:
    return lambda forge: forge.with_claims(**{name: respell(forge.claims()[name])})


def _times() -> Iterator[Case]:
    for name, (issued, ends) in ODD_SPANS.items():
        yield Case(f"times: {name}", _span(issued, ends))
    for number in ODD_NUMBERS:
        yield Case(f"times: exp is {number[:12]}", _number("exp", number))
        yield Case(f"times: iat is {number[:12]}", _number("iat", number))


def _span(issued: int, ends: int) -> Token:
    """Seconds from now."""
    return lambda forge: forge.with_claims(iat=int(time.time()) + issued, exp=int(time.time()) + ends)


def _number(name: str, text: str) -> Token:
    return lambda forge: forge.with_claims_respelled(f'"{name}": {forge.claims()[name]}', f'"{name}": {text}')


def _json() -> Iterator[Case]:
    for name, raw in NOT_OBJECTS.items():
        yield Case(f"claims are {name}", _claims_written(raw))
        yield Case(f"header is {name}", _header_written(raw))
    for name, (old, new) in ODD_JSON.items():
        yield Case(f"claims {name}", _json_respelled(old, new))
    yield Case("claims with depth inside", _claim("x", _nested(200)))
    for name, value in (("alg", "none"), ("kid", "other"), ("typ", "at+jwt")):
        yield Case(f"header twice: {name}", _header_twice(name, value))


def _claims_written(raw: bytes) -> Token:
    return lambda forge: forge.token(claims=raw)


def _header_written(raw: bytes) -> Token:
    return lambda forge: forge.sign(f"{encode(raw)}.{encode(forge.claims())}")


def _json_respelled(old: str, new: str) -> Token:
    return lambda forge: forge.with_claims_respelled(old, new)


def _header_twice(name: str, value: str) -> Token:
    first = f'{{"{name}": "{value}", '
    return lambda forge: forge.token(header=json.dumps(forge.header()).replace("{", first).encode())


def _nested(depth: int) -> list[Any]:
    inner: list[Any] = []
    for _ in range(depth):
        inner = [inner]
    return inner


def _headers() -> Iterator[Case]:
    for name, values in ODD_HEADERS.items():
        for value in [LEFT_OUT, *values, None, 1, True, ["HS256"], {"a": 1}]:
            yield Case(f"header {name}: {_shown(value)}", _header(name, value))
    for name, value in ADDED_HEADERS.items():
        yield Case(f"header added: {name}", _header(name, value))
    for digest in ("sha384", "sha512"):
        yield Case(f"header alg: {digest}, signed so", _signed_as(digest.replace("sha", "HS"), digest))
        yield Case(f"header alg: HS256, signed with {digest}", _signed_as("HS256", digest))
    for alg in ("none", "None", "NONE"):
        yield Case(f"header alg: {alg}, not signed", _not_signed(alg))
    yield Case("header is long", _header("pad", "x" * 600))


def _header(name: str, value: object) -> Token:
    return lambda forge: forge.with_header(**{name: value})


def _signed_as(alg: str, digest: str) -> Token:
    return lambda forge: forge.token(header=forge.header(alg=alg), digest=digest)


def _not_signed(alg: str) -> Token:
    return lambda forge: forge.with_header(alg=alg).rpartition(".")[0] + "."


def _signatures() -> Iterator[Case]:
    for name, key in OTHER_KEYS.items():
        yield Case(f"signed with {name}", _signed_with(key))
    yield Case("signature: zeros", lambda forge: f"{forge.token().rpartition('.')[0]}.{encode(bytes(32))}")
    yield Case("signature: half", lambda forge: forge.token()[:-22])
    yield Case("signature: a byte short", lambda forge: forge.token()[:-2])
    yield Case("signature: a byte more", lambda forge: forge.token() + "AA")
    yield Case("signature: in hexadecimal", _signed_in_hexadecimal)
    yield Case("signature: of another token", lambda forge: _mixed(forge, 2, forge.with_claims(jti="b")))
    yield Case("claims of another token", lambda forge: _mixed(forge, 1, forge.with_claims(jti="b")))
    yield Case("header of another token", lambda forge: _mixed(forge, 0, forge.with_header(alg="none")))


def _signed_with(key: bytes) -> Token:
    return lambda forge: forge.token(key=key)


def _signed_in_hexadecimal(forge: Forge) -> str:
    text = forge.token().rpartition(".")[0]
    return f"{text}.{hmac.new(forge.key, text.encode(), 'sha256').hexdigest()}"


def _mixed(forge: Forge, place: int, other: str) -> str:
    parts = forge.token().split(".")
    parts[place] = other.split(".")[place]
    return ".".join(parts)


def _spellings() -> Iterator[Case]:
    for place, part in enumerate(("header", "claims", "signature")):
        for name, respell in PARTS_OTHERWISE.items():
            yield Case(f"{part} {name}", _respelled(place, respell))
    for name, respell in TOKENS_OTHERWISE.items():
        yield Case(f"spelling: {name}", _token_respelled(respell))
    yield Case("spelling: plain base64", _in_plain_base64)


def _token_respelled(respell: Respell) -> Token:
    return lambda forge: respell(forge.token())


def _respelled(place: int, respell: Respell) -> Token:
    """Change how a part is written, and sign what is written then. Spaces give each part bits to spare."""

    def token(forge: Forge) -> str:
        written = [json.dumps(each).encode() for each in (forge.header(), forge.claims())]
        parts = [encode(raw + b" " * ((1 - len(raw)) % 3)) for raw in written]
        if place < 2:
            parts[place] = respell(parts[place])
            return forge.sign(".".join(parts))
        text, _, signature = forge.sign(".".join(parts)).rpartition(".")
        return f"{text}.{respell(signature)}"

    return token


def _in_plain_base64(forge: Forge) -> str:
    """With bytes that the two alphabets write differently."""
    raw = json.dumps(forge.claims(jti="???>>>~~~" * 3)).encode()
    claims = base64.b64encode(raw).decode().rstrip("=")
    assert set("+/") & set(claims)
    return forge.sign(f"{encode(forge.header())}.{claims}")


def _shapes() -> Iterator[Case]:
    for name, text in NO_TOKENS.items():
        yield Case(f"shape: {name}", _just(text))
    yield Case("shape: two parts", lambda forge: forge.token().rpartition(".")[0])
    yield Case("shape: four parts", lambda forge: forge.token() + ".AAAA")
    yield Case("shape: five parts", lambda forge: forge.token() + ".AAAA.AAAA")
    yield Case("shape: parts turned round", lambda forge: ".".join(reversed(forge.token().split("."))))
    yield Case("shape: JSON", _as_json)
    yield Case("shape: a token in a token", lambda forge: forge.token(claims=forge.token().encode()))
    yield Case("shape: with its scheme", lambda forge: "Bearer " + forge.token())
    yield Case("shape: two tokens", lambda forge: f"{forge.token()},{forge.token()}")


def _just(text: str) -> Token:
    return lambda forge: text


def _as_json(forge: Forge) -> str:
    header, claims, signature = forge.token().split(".")
    return json.dumps({"protected": header, "payload": claims, "signature": signature})


FORGED = [*_claims(), *_times(), *_json(), *_headers(), *_signatures(), *_spellings(), *_shapes()]
GOOD = [
    Case("just issued", lambda forge: forge.token()),
    Case("about to end", _span(10 - LIFETIME_SECONDS, 10)),
    Case("of a short life", _span(0, 30)),
]
NOT_TEXT: list[Any] = [None, 5, True, b"", b"a.b.c", bytearray(b"a.b.c"), ["a", "b", "c"], {"token": "a.b.c"}]
