"""The file .env: read as Compose reads it, made with secrets of its own, checked before anything starts."""

import hashlib
import os
import re
import secrets
from collections.abc import Mapping
from pathlib import Path

from compose.errors import Stopped

REPOSITORY = Path(__file__).resolve().parents[1]
COMPOSE_FILE = REPOSITORY / "docker-compose.yml"
PROFILES = ("core", "monitoring", "dashboards", "host", "logging")
DEFAULT_PROFILES = "core,monitoring,dashboards"

IN_ADDRESSES = (
    *("POSTGRES_OWNER_PASSWORD", "POSTGRES_APP_PASSWORD", "REDIS_BROKER_PASSWORD", "REDIS_CACHE_PASSWORD"),
)
"""They become part of an address, where other characters would have a meaning."""
SERVER_PASSWORDS = (
    *("POSTGRES_PASSWORD", "POSTGRES_OWNER_PASSWORD", "POSTGRES_APP_PASSWORD"),
    *("GRAFANA_DB_PASSWORD", "EXPORTER_DB_PASSWORD"),
    *("REDIS_BROKER_PASSWORD", "REDIS_CACHE_PASSWORD", "S3_SECRET_KEY"),
    *("FLOWER_PASSWORD", "GRAFANA_PASSWORD", "ELASTIC_PASSWORD", "KIBANA_PASSWORD"),
)
SHORTEST_PASSWORD = 16
LARGEST_PORT = 65535
FEWEST_CHARACTERS = 6
ADDED_LATER = ("POSTGRES_OWNER_PASSWORD",)
"""Not in a .env that an earlier release made, nor known to its volumes."""
NEEDED_BY_PROFILE = {"logging": ("ELASTIC_PASSWORD", "KIBANA_PASSWORD", "KIBANA_ENCRYPTION_KEY")}

_LINE = re.compile(r"""(?:export\s+)?([A-Za-z_][A-Za-z0-9_]*)\s*=\s*("[^"]*"|'[^']*'|.*?)(?:\s+\#.*)?""")
_REQUIRED = re.compile(r"\$\{([A-Z0-9_]+):\?")
_UNREADABLE_IN_ADDRESSES = re.compile(r"[^A-Za-z0-9._~-]")

TEMPLATE = """\
# Made by `make dev-setup`. Every other setting is in .env.example, with its default: copy here the lines to change.
# Keep this file: the passwords are those that the volumes were made with.

# Containers and volumes bear this name. Another platform beside this one needs another, and other ports.
COMPOSE_PROJECT_NAME={project}
COMPOSE_PROFILES={profiles}

# The first administrator, and an account to try things with. Made at the first start; later changes do nothing.
ADMIN_PASSWORD={ADMIN_PASSWORD}
DEMO_PASSWORD={DEMO_PASSWORD}

# Secrets of the platform.
JWT_SECRET={JWT_SECRET}
INTERNAL_TOKEN={INTERNAL_TOKEN}
POSTGRES_PASSWORD={POSTGRES_PASSWORD}
POSTGRES_OWNER_PASSWORD={POSTGRES_OWNER_PASSWORD}
POSTGRES_APP_PASSWORD={POSTGRES_APP_PASSWORD}
GRAFANA_DB_PASSWORD={GRAFANA_DB_PASSWORD}
EXPORTER_DB_PASSWORD={EXPORTER_DB_PASSWORD}
REDIS_BROKER_PASSWORD={REDIS_BROKER_PASSWORD}
REDIS_CACHE_PASSWORD={REDIS_CACHE_PASSWORD}
S3_ACCESS_KEY={S3_ACCESS_KEY}
S3_SECRET_KEY={S3_SECRET_KEY}

# Logins of the tools: `admin` in Flower and Grafana, `elastic` in Kibana. The last two are between servers.
FLOWER_PASSWORD={FLOWER_PASSWORD}
GRAFANA_PASSWORD={GRAFANA_PASSWORD}
ELASTIC_PASSWORD={ELASTIC_PASSWORD}
KIBANA_PASSWORD={KIBANA_PASSWORD}
KIBANA_ENCRYPTION_KEY={KIBANA_ENCRYPTION_KEY}
"""
_TYPED = ("ADMIN_PASSWORD", "DEMO_PASSWORD", "FLOWER_PASSWORD", "GRAFANA_PASSWORD", "ELASTIC_PASSWORD")
"""A person types these; they are shorter than those that only programs use."""


class Environment:
    """What Compose will see: the shell's variables, over those of the file."""

    def __init__(self, path: Path, shell: Mapping[str, str] | None = None) -> None:
        self.path = path
        self.file = parse(path.read_text()) if path.exists() else {}
        self._shell = os.environ if shell is None else shell

    def get(self, name: str, default: str = "") -> str:
        return self._shell.get(name) or self.file.get(name) or default

    @property
    def profiles(self) -> list[str]:
        named = self.get("COMPOSE_PROFILES", DEFAULT_PROFILES)
        return [each.strip() for each in named.split(",") if each.strip()]

    @property
    def certificates(self) -> Path:
        """Where tls.crt and tls.key are looked for."""
        return REPOSITORY / self.get("TLS_DIR", "nginx/certs")

    def certificate_digest(self) -> str:
        """Changes with the certificate, and is empty without one."""
        try:
            return hashlib.sha256((self.certificates / "tls.crt").read_bytes()).hexdigest()[:16]
        except OSError:
            return ""

    @property
    def option(self) -> str:
        """What has to be added to a command of make so that it means this file."""
        if self.path == REPOSITORY / ".env":
            return ""
        inside = self.path.is_relative_to(REPOSITORY)
        return f" ENV_FILE={self.path.relative_to(REPOSITORY) if inside else self.path}"

    def faults(self) -> list[str]:
        """Sentences: what would keep the platform from starting, as far as this file can tell."""
        if not self.path.exists():
            return [f"{self.path.name} is missing. Run: make dev-setup{self.option}"]
        return [
            *self._unknown_profiles(),
            *self._impossible_ports(),
            *self._missing_secrets(),
            *self._unusable_passwords(),
            *self._guessable_passwords(),
        ]

    def _unknown_profiles(self) -> list[str]:
        unknown = [each for each in self.profiles if each not in (*PROFILES, "*")]
        if not unknown:
            return []
        return [
            f"COMPOSE_PROFILES names {', '.join(unknown)}, and there is no such profile. "
            f"Choose from: {', '.join(PROFILES)}."
        ]

    def _impossible_ports(self) -> list[str]:
        return [
            f"{name} is {value!r}, and a port is a number from 1 to {LARGEST_PORT}."
            for name, value in self.file.items()
            if name.endswith("_PORT") and not (value.isdecimal() and 0 < int(value) <= LARGEST_PORT)
        ]

    def _missing_secrets(self) -> list[str]:
        needed = required_names(COMPOSE_FILE.read_text())
        for profile in self.profiles:
            needed += [each for each in NEEDED_BY_PROFILE.get(profile, ()) if each not in needed]
        missing = [each for each in needed if not self.get(each)]
        lost = [each for each in missing if each not in ADDED_LATER]
        return [
            *([f"{self._lacks(lost)}\n{_lines(lost)}"] if lost else []),
            *(
                f"{self.path.name} has no value for {each}, which earlier releases did not know. Add this line; if the "
                f'platform has data, follow "Database roles" in docs/deployment.md before make up:\n{_lines([each])}'
                for each in missing
                if each not in lost
            ),
        ]

    def _lacks(self, names: list[str]) -> str:
        return (
            f"{self.path.name} has no value for {', '.join(names)}. If this platform has data, put back what stood "
            "there: its volumes were made with it. For a new one, these were made just now:"
        )

    def _unusable_passwords(self) -> list[str]:
        return [
            f"{name} holds a character that an address cannot: use letters, digits and . _ ~ - only "
            "(openssl rand -hex 32 makes such a one)."
            for name in IN_ADDRESSES
            if _UNREADABLE_IN_ADDRESSES.search(self.get(name))
        ]

    def _guessable_passwords(self) -> list[str]:
        """Of the servers, in production; our own services look at theirs themselves."""
        if self.get("ENVIRONMENT") != "production":
            return []
        return [
            f"{name} can be guessed, which production refuses: at least {SHORTEST_PASSWORD} characters, and not a word "
            "(openssl rand -hex 32 makes such a one)."
            for name in SERVER_PASSWORDS
            if self.get(name) and _is_guessable(self.get(name))
        ]


def _lines(names: list[str]) -> str:
    return "\n".join(f"    {each}={secrets.token_hex(32)}" for each in names)


def _is_guessable(password: str) -> bool:
    return len(password) < SHORTEST_PASSWORD or len(set(password)) < FEWEST_CHARACTERS


def parse(text: str) -> dict[str, str]:
    """Names and values of a .env file; quotes and comments taken off.

    Compose reads `NAME=  # comment` as the value `# comment`; here that is no value, so that it is found missing.
    """
    found = {}
    for line in text.splitlines():
        match = _LINE.fullmatch(line.strip())
        if match:
            value = match[2]
            quoted = len(value) >= 2 and value[0] == value[-1] and value[0] in "'\""
            found[match[1]] = value[1:-1] if quoted else "" if value.startswith("#") else value
    return found


def required_names(compose_file: str) -> list[str]:
    """The variables without which Compose refuses the file."""
    return list(dict.fromkeys(_REQUIRED.findall(compose_file)))


def write(path: Path, *, profiles: str = DEFAULT_PROFILES) -> None:
    """Make a .env with fresh secrets. Raises Stopped if there is one: it is never changed."""
    values = {name: secret(name) for name in re.findall(r"\{([A-Z0-9_]+)\}", TEMPLATE)}
    try:
        with open(os.open(path, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600), "w") as file:
            file.write(TEMPLATE.format(profiles=profiles, project=project_of(path), **values))
    except FileExistsError:
        raise Stopped(f"{path.name} is there already, and stays as it is.") from None
    except OSError as error:
        raise Stopped(f"{path} cannot be written: {error.strerror}.") from None


def project_of(path: Path) -> str:
    """`.env`: mlp; `second.env`: mlp-second. Two platforms that shared a name would share, and delete, their data."""
    words = re.sub(r"[^a-z0-9]+", "-", path.stem.lower()).strip("-")
    return "mlp" if path.name == ".env" else f"mlp-{words}"


def secret(name: str) -> str:
    if name == "S3_ACCESS_KEY":
        return f"mlp-{secrets.token_hex(8)}"
    return secrets.token_urlsafe(15) if name in _TYPED else secrets.token_hex(32)
