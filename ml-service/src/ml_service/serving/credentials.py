"""What a request shows of who sends it, read before anybody is asked."""

import hashlib
import re
from dataclasses import dataclass, field

from starlette.datastructures import Headers

from ml_service.serving.errors import NotSignedIn
from platform_kit.contract.access import CredentialKind

_READABLE = re.compile(r"[\x21-\x7e]{1,4096}")
"""Neither tokens nor keys hold anything else, or are longer."""


@dataclass(frozen=True, slots=True)
class Credential:
    kind: CredentialKind
    text: str = field(repr=False)

    @property
    def digest(self) -> str:
        """SHA-256 in hexadecimal: what is kept in its place."""
        return hashlib.sha256(f"{self.kind}:{self.text}".encode()).hexdigest()


def presented(headers: Headers) -> Credential | None:
    """The credential of a request; None where it has none. A key counts, also beside a token: api-server does the same.

    Raises NotSignedIn for what cannot be a credential.
    """
    if "x-api-key" in headers:
        return _credential(CredentialKind.API_KEY, _only(headers, "x-api-key"))
    if "authorization" not in headers:
        return None
    scheme, _, token = _only(headers, "authorization").partition(" ")
    if scheme.lower() != "bearer":
        raise NotSignedIn
    return _credential(CredentialKind.BEARER, token.strip(" "))


def credential_of(name: bytes, value: bytes) -> Credential | None:
    """The credential in one header of a request, if it is well formed. name: in small letters."""
    text = value.decode("latin-1")
    kind = CredentialKind.API_KEY
    if name == b"authorization":
        scheme, _, token = text.partition(" ")
        if scheme.lower() != "bearer":
            return None
        kind, text = CredentialKind.BEARER, token.strip(" ")
    return Credential(kind, text) if _READABLE.fullmatch(text) else None


def is_shown(headers: Headers) -> bool:
    """Whether there is anything that was meant as a credential."""
    return "x-api-key" in headers or "authorization" in headers


def _only(headers: Headers, name: str) -> str:
    sent = headers.getlist(name)
    if len(sent) != 1:
        raise NotSignedIn
    return sent[0]


def _credential(kind: CredentialKind, text: str) -> Credential:
    if not _READABLE.fullmatch(text):
        raise NotSignedIn
    return Credential(kind, text)
