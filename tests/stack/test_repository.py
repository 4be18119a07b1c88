"""What is committed: no secrets, no dead links, a help for every target."""

import re
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

pytestmark = pytest.mark.repository

REPOSITORY = Path(__file__).parents[2]
LARGEST_BYTES = 2_000_000

SECRETS = {
    "a private key": re.compile(r"-----BEGIN [A-Z ]*PRIVATE KEY"),
    "a cloud access key": re.compile(r"\b(AKIA|ASIA)[0-9A-Z]{16}\b"),
    "a repository token": re.compile(r"\b(gh[pousr]_[A-Za-z0-9]{36}|glpat-[A-Za-z0-9_-]{20})\b"),
    "a signed token": re.compile(r"\beyJ[A-Za-z0-9_-]{10,}\.eyJ[A-Za-z0-9_-]{10,}\.[A-Za-z0-9_-]{20,}"),
    "a password in an address": re.compile(
        r"[a-z+]+://[^\s/:@{}$<>'\"]*:(?!PASSWORD|PW)[^\s/:@{}$<>'\"]{6,}@"
    ),
    "a value of a secret": re.compile(
        r"^[A-Z_]*(SECRET|PASSWORD|TOKEN|API_KEY)[A-Z_]*\s*[=:]\s*['\"]?[A-Za-z0-9+/_-]{20,}['\"]?\s*(#.*)?$",
        re.MULTILINE,
    ),
}
LINK = re.compile(r"(?<!!)\[[^\]]*\]\(([^)\s]+)[^)]*\)")
FENCE = re.compile(r"^```.*?^```", re.MULTILINE | re.DOTALL)


def committed() -> Iterator[Path]:
    listed = subprocess.run(
        ["git", "ls-files", "--cached", "--others", "--exclude-standard", "-z"],
        cwd=REPOSITORY,
        capture_output=True,
        check=True,
    )
    for name in listed.stdout.decode().split("\0"):
        path = REPOSITORY / name
        if name and path.is_file():
            yield path


def texts() -> Iterator[tuple[Path, str]]:
    for path in committed():
        try:
            yield path, path.read_text()
        except UnicodeDecodeError:
            continue


def test_no_secret_is_committed() -> None:
    found = [
        f"{path.relative_to(REPOSITORY)}: {what}"
        for path, text in texts()
        for what, pattern in SECRETS.items()
        if pattern.search(text)
    ]

    assert not found


def test_no_file_is_too_large_for_a_repository() -> None:
    assert not [path for path in committed() if path.stat().st_size > LARGEST_BYTES]


def test_links_between_pages_lead_somewhere() -> None:
    dead = [
        f"{page.relative_to(REPOSITORY)}: {target}"
        for page, text in texts()
        if page.suffix == ".md"
        for target in LINK.findall(FENCE.sub("", text))
        if not leads_somewhere(page, target)
    ]

    assert not dead


def leads_somewhere(page: Path, target: str) -> bool:
    """Addresses of other sites are not asked; a heading of a page must exist."""
    if re.match(r"[a-z]+:", target):
        return True
    name, _, anchor = target.partition("#")
    path = (page.parent / name).resolve() if name else page
    if not path.exists() or not anchor or path.suffix != ".md":
        return path.exists()
    return anchor in {slug(line) for line in path.read_text().splitlines() if line.startswith("#")}


def slug(heading: str) -> str:
    words = re.sub(r"[^\w\- ]", "", heading.lstrip("#").strip().lower())
    return words.replace(" ", "-")


def test_every_target_of_make_is_in_its_help() -> None:
    makefile = (REPOSITORY / "Makefile").read_text()
    shown = subprocess.run(["make", "-s"], cwd=REPOSITORY, capture_output=True, text=True, check=True).stdout

    targets = re.findall(r"^\.PHONY: (.+)$", makefile, re.MULTILINE)
    assert targets
    assert not [name for name in targets if f"make {name} " not in shown]
