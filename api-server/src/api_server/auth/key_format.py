"""The text of an API key: `mlp_<8 letters or digits: its name>_<43: the secret><6: the checksum>`.

For secret scanners: `\\bmlp_[0-9A-Za-z]{8}_[0-9A-Za-z]{49}\\b`. The checksum is the CRC32 of all before it, written in
base 62 with the digits 0-9A-Za-z; who finds a text of this shape can tell without asking us whether it is a key of ours
(docs/api-keys.md). The secret has more than 256 random bits, so that a plain SHA-256 of the key is enough to keep.
"""

import hashlib
import re
import secrets
import string
import zlib
from dataclasses import dataclass, field

DIGITS = string.digits + string.ascii_uppercase + string.ascii_lowercase
PREFIX = re.compile(r"mlp_[0-9A-Za-z]{8}")
_KEY = re.compile(rf"({PREFIX.pattern})_[0-9A-Za-z]{{49}}")
_LENGTH = 62
_CHECKSUM_LENGTH = 6


@dataclass(frozen=True)
class MintedKey:
    """text: shown once, to whom it belongs. prefix: how lists and logs name the key. sha256: what is kept."""

    text: str = field(repr=False)
    prefix: str
    sha256: str


@dataclass(frozen=True)
class ParsedKey:
    """A key that could be ours; whether it is, the table of keys says."""

    prefix: str
    sha256: str


def mint() -> MintedKey:
    prefix = f"mlp_{_random(8)}"
    body = f"{prefix}_{_random(43)}"
    text = body + _checksum(body)
    return MintedKey(text=text, prefix=prefix, sha256=_digest(text))


def parse(text: str) -> ParsedKey | None:
    """Take a key apart; None for what was never one of ours, whatever it is, found without the database."""
    if len(text) != _LENGTH:
        return None
    shape = _KEY.fullmatch(text)
    body, checksum = text[:-_CHECKSUM_LENGTH], text[-_CHECKSUM_LENGTH:]
    if shape is None or checksum != _checksum(body):
        return None
    return ParsedKey(prefix=shape[1], sha256=_digest(text))


def _random(length: int) -> str:
    return "".join(secrets.choice(DIGITS) for _ in range(length))


def _checksum(body: str) -> str:
    rest, digits = zlib.crc32(body.encode()), ""
    for _ in range(_CHECKSUM_LENGTH):
        rest, digit = divmod(rest, len(DIGITS))
        digits = DIGITS[digit] + digits
    return digits


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()
