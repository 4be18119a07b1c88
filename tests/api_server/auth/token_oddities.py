"""What may be wrong with a token, by the place where it is wrong; `token_cases` makes tokens of it."""

import base64
from collections.abc import Callable
from typing import Any

from tests.api_server.auth.forge import encode

DEEP = 200_000
MEGABYTE = 1_000_000
Respell = Callable[[str], str]

UUIDS_OTHERWISE: dict[str, Respell] = {
    "upper case": lambda text: text.upper(),
    "without hyphens": lambda text: text.replace("-", ""),
    "in braces": lambda text: f"{{{text}}}",
    "as a URN": lambda text: f"urn:uuid:{text}",
    "with a space": lambda text: f" {text}",
    "in Arabic digits": lambda text: "".join(chr(0x660 + int(c)) if c.isdigit() else c for c in text),
}
ODD_CLAIMS: dict[str, list[Any]] = {
    "iss": ["somebody else", "platform ", 5, None, ["platform"], ""],
    "aud": ["platform-ml", "", None, ["platform-api"], ["platform-api", "other"], {"platform-api": 1}],
    "sub": ["no uuid", "", 5, None, ["x"], {}],
    "sid": ["no uuid", "", 5, None, ["x"], {}],
    "jti": ["", 5, None, ["x"]],
    "iat": ["1", 1.5, True, None, [1], {}, 10**400],
    "exp": ["9999999999", 9999999999.5, True, None, [9999999999], {}, 10**400, 0, -1, 1],
}
ADDED_CLAIMS: dict[str, Any] = {
    "nbf": 0,
    "role": "admin",
    "scope": "admin",
    "at_hash": "x",
    "exp ": 9999999999,
    "__proto__": {"role": "admin"},
}
ODD_HEADERS: dict[str, list[Any]] = {
    "alg": ["none", "None", "NONE", "nOnE", "", "hs256", "HS256 ", "RS256", "ES256", "PS256", "EdDSA", "dir"],
    "typ": ["JWT", "AT+JWT", "application/at+jwt", "", "refresh"],
    "kid": ["", "other", "../../../../dev/null", "' OR 1=1 --", "0", "__class__"],
}
ADDED_HEADERS: dict[str, Any] = {
    "crit": ["exp"],
    "crit ": [],
    "b64": False,
    "jwk": {"kty": "oct", "k": "AAAA"},
    "jku": "http://127.0.0.1/keys",
    "x5u": "http://127.0.0.1/certificate",
    "x5c": ["MIIB"],
    "x5t": "AAAA",
    "x5t#S256": "AAAA",
    "enc": "A256GCM",
    "zip": "DEF",
    "cty": "JWT",
    "epk": {},
    "header": {"alg": "HS256"},
    "ALG": "none",
}
NOT_OBJECTS: dict[str, bytes] = {
    "nothing": b"",
    "an array": b"[]",
    "a string": b'"x"',
    "a number": b"1",
    "null": b"null",
    "no JSON": b"{",
    "JSON and more": b"{} {}",
    "no UTF-8": b'{"\xff": 1}',
    "UTF-16": "{}".encode("utf-16"),
    "a byte order mark": b"\xef\xbb\xbf{}",
    "a NUL": b"{}\0",
    "NaN": b"NaN",
    "depth": b"[" * 300,
    "more depth": b"[" * DEEP + b"]" * DEEP,
    "objects in depth": b'{"a":' * DEEP + b"1" + b"}" * DEEP,
    "a megabyte": b'"' + b"x" * MEGABYTE + b'"',
}


def padded(part: str) -> str:
    return part + "=" * (-len(part) % 4)


def with_trailing_bits(part: str) -> str:
    """The same bytes for a decoder that does not look."""
    letters = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"
    changed = part[:-1] + letters[letters.index(part[-1]) + 1]
    assert base64.urlsafe_b64decode(padded(changed)) == base64.urlsafe_b64decode(padded(part))
    return changed


PARTS_OTHERWISE: dict[str, Respell] = {
    "with padding": padded,
    "with other trailing bits": with_trailing_bits,
    "with a line break": lambda part: part[:8] + "\n" + part[8:],
    "with a space": lambda part: part[:8] + " " + part[8:],
    "with a plus": lambda part: part[:-4] + "+/+/",
    "with an odd letter": lambda part: part + "!",
    "with a letter too many": lambda part: part + "A" * (1 - len(part) % 4 + 4),
    "left empty": lambda part: "",
}
TOKENS_OTHERWISE: dict[str, Respell] = {
    "a space before": lambda token: " " + token,
    "a space after": lambda token: token + " ",
    "a tab after": lambda token: token + "\t",
    "a line break before": lambda token: "\n" + token,
    "a line break after": lambda token: token + "\n",
    "a NUL after": lambda token: token + "\0",
    "a dot before": lambda token: "." + token,
    "a dot after": lambda token: token + ".",
    "in quotes": lambda token: f'"{token}"',
    "in lower case": lambda token: token.lower(),
    "in wide letters": lambda token: "".join(chr(ord(c) + 0xFEE0) if c.isalnum() else c for c in token),
    "with percent-encoded dots": lambda token: token.replace(".", "%2E"),
    "with wide dots": lambda token: token.replace(".", "\uff0e"),
}
NO_TOKENS = {
    "empty": "",
    "one dot": ".",
    "two dots": "..",
    "three letters": "a.b.c",
    "unicode": "é.é.é",
    "NULs": "\0.\0.\0",
    "half a surrogate pair": "\ud800.\ud800.\ud800",
    "a long text": "x" * MEGABYTE,
    "long parts": f"{'x' * MEGABYTE}.{'x' * MEGABYTE}.{'x' * MEGABYTE}",
    "many dots": "." * MEGABYTE,
    "an encrypted token": f"{encode({'alg': 'dir', 'enc': 'A256GCM'})}..AAAA.AAAA.AAAA",
    "a refresh token": "0123456789abcdef" * 4,
    "an API key": "mlp_0123abcd_" + "A" * 49,
    "null": "null",
    "a path": "../../etc/passwd",
}
ODD_SPANS = {
    "issued in a minute": (60, 660),
    "issued tomorrow": (86_400, 87_000),
    "over since a second": (-601, -1),
    "over now": (-600, 0),
    "over when issued": (5, 5),
    "over before it was issued": (9, 5),
    "over before it was issued, in a minute": (120, 60),
    "long": (0, 3600),
    "long since": (-86_400, 60),
    "for ever": (0, 10**10),
    "from before time": (-(10**10), 60),
}
ODD_NUMBERS = [
    "NaN",
    "Infinity",
    "-Infinity",
    "1e400",
    "1e10",
    "01",
    "+1",
    "1_0",
    "0x1",
    "-0",
    "9" * 600,
    "\u0661",
]
ODD_JSON = {
    "twice: exp": ('"exp"', '"exp": 1, "exp"'),
    "twice: sub": ('"sub"', '"sub": "x", "sub"'),
    "twice: sub, escaped": ('"sub"', '"s\\u0075b": "x", "sub"'),
    "twice: the same aud": ('"aud"', '"aud": "platform-api", "aud"'),
    "with a comment": ("{", "/**/{"),
    "with single quotes": ('"', "'"),
    "with a comma at the end": ("}", ",}"),
    "in an array": ("{", "[{"),
}
OTHER_KEYS = {
    "another key": b"another signing key, of 32 bytes or more",
    "no key": b"",
    "the name of a key": b"kid",
    "a public key": b"-----BEGIN PUBLIC KEY-----\nMFwwDQ==\n-----END PUBLIC KEY-----",
}
