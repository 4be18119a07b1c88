"""Which secrets could be guessed: too short, a placeholder that nobody replaced, or the same over and over."""

from urllib.parse import unquote, urlsplit

MIN_SECRET_BYTES = 32
MIN_PASSWORD_BYTES = 16
MIN_DISTINCT = 6
PLACEHOLDERS = (
    "changeme",
    "change-me",
    "change_me",
    "secret",
    "password",
    "minioadmin",
    "example",
    "placeholder",
)
MAKE_SECRET = "make one with: openssl rand -hex 32"  # noqa: S105  # how to make one
MAKE_PASSWORD = "make one with: openssl rand -hex 24"  # noqa: S105


def weakness(secret: str, *, min_bytes: int) -> str | None:
    """What is wrong with a secret, in words that follow its name, or None."""
    if len(secret.encode()) < min_bytes:
        return f"must be at least {min_bytes} bytes long"
    found = next((word for word in PLACEHOLDERS if word in secret.lower()), None)
    if found is not None:
        return f"holds the placeholder {found!r}"
    if secret in (secret + secret)[1:-1]:
        return "repeats itself"
    if len(set(secret)) < MIN_DISTINCT:
        return f"has fewer than {MIN_DISTINCT} different characters"
    return None


def password_of(url: str) -> str:
    """The password inside an address such as `redis://:PASSWORD@host:6379/0`; empty if there is none."""
    return unquote(urlsplit(url).password or "")
