"""Which passwords are not taken, and what makes two texts one password."""

import unicodedata
from functools import cache
from importlib.resources import files


def normalised(password: str) -> str:
    """One form for what looks the same: an é is one character on some systems and two on others (RFC 8265, 4.2)."""
    return unicodedata.normalize("NFC", password)


def is_common(password: str) -> bool:
    """Whether it is one of the 3000 most used passwords, in any case (NIST SP 800-63B, ASVS 5 6.2.4)."""
    return normalised(password).casefold() in _common()


def weakness_of(password: str, *, username: str, email: str) -> str | None:
    """What is wrong with a new password, as a sentence for whoever chose it, or None."""
    if is_common(password):
        return "This is one of the most used passwords; choose one that others do not think of."
    folded = normalised(password).casefold()
    if folded in {normalised(name).casefold() for name in (username, email, email.partition("@")[0])}:
        return "The password must not be your user name or e-mail address."
    return None


@cache
def _common() -> frozenset[str]:
    return frozenset(files(__package__).joinpath("common_passwords.txt").read_text("utf-8").split())
