"""The locks hold what the packages ask for, agree with each other, and know no addresses."""

import re
import tomllib
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name
from packaging.version import Version

pytestmark = pytest.mark.repository

REPOSITORY = Path(__file__).parents[2]
REQUIREMENTS = REPOSITORY / "requirements"
PACKAGES = ["platform-kit", "api-server", "ml-service"]
LOCKS = {
    "api-server.txt": ["platform-kit", "api-server"],
    "ml-service.txt": ["platform-kit", "ml-service"],
    "embedded.txt": [*PACKAGES, "embedded.in"],
    "dev.txt": [*PACKAGES, "embedded.in", "dev.in"],
}
PIN = re.compile(r"^([A-Za-z0-9._-]+)==(\S+)( ; .+?)? \\$", re.MULTILINE)
Pins = dict[str, set[str]]


def pins(lock: str) -> Pins:
    found: Pins = {}
    for name, version, _ in PIN.findall((REQUIREMENTS / lock).read_text()):
        found.setdefault(canonicalize_name(name), set()).add(version)
    return found


def asked_for(source: str) -> list[Requirement]:
    if source.endswith(".in"):
        lines = (REQUIREMENTS / source).read_text().splitlines()
        return [Requirement(line) for line in lines if line and not line.startswith("#")]
    project = tomllib.loads((REPOSITORY / source / "pyproject.toml").read_text())["project"]
    return [Requirement(each) for each in project["dependencies"]]


@pytest.mark.parametrize("lock", LOCKS)
def test_a_lock_satisfies_every_dependency(lock: str) -> None:
    locked = pins(lock)
    for source in LOCKS[lock]:
        for wanted in asked_for(source):
            name = canonicalize_name(wanted.name)
            if name in PACKAGES or (wanted.marker and not wanted.marker.evaluate()):
                continue
            versions = locked.get(name, set())
            assert any(map(wanted.specifier.contains, map(Version, versions))), (
                f"{lock} has {name} {versions or 'not at all'}, but {source} asks for {wanted}: make lock"
            )


@pytest.mark.parametrize("lock", LOCKS)
def test_locks_agree_with_the_largest(lock: str) -> None:
    largest = pins("dev.txt")

    assert not {name: found for name, found in pins(lock).items() if not found <= largest.get(name, set())}


@pytest.mark.parametrize("lock", LOCKS)
def test_a_lock_has_hashes_and_no_addresses(lock: str) -> None:
    lines = (REQUIREMENTS / lock).read_text().splitlines()

    assert lines
    pin_or_hash = re.compile(r"[a-zA-Z0-9._-]+==\S+( ; [^@]+)? \\|    --hash=sha256:[0-9a-f]{64}( \\)?")
    assert not [line for line in lines if not pin_or_hash.fullmatch(line)]
