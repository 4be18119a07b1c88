"""`python -m compose up | health | backup | ...`: the Docker Compose platform. `make help` lists the usual calls."""

import argparse
import os
import sys
import time
from collections.abc import Callable
from pathlib import Path

from compose import backup, engine, environment, preflight, status
from compose.engine import Compose
from compose.environment import REPOSITORY, Environment
from compose.errors import Stopped

STARTING_SECONDS = 300
RECOVERY_SECONDS = 60
"""Three looks of Docker at a container, and some patience."""
LAST_LINES = "30"

Work = Callable[[Compose, argparse.Namespace], int]


def main() -> int:
    arguments = _parser().parse_args()
    os.environ.setdefault("PYTHONUNBUFFERED", "1")
    try:
        code: int = arguments.run(arguments)
    except Stopped as reason:
        sys.stderr.write(f"{reason}\n")
        return 1
    except KeyboardInterrupt:
        return 130
    return code


def _dev_setup(arguments: argparse.Namespace) -> int:
    try:
        environment.write(arguments.env_file)
    except Stopped as reason:
        if not arguments.env_file.exists():
            raise
        say(f"{reason}")
        faults = Environment(arguments.env_file).faults()
        say(
            "\n".join(faults)
            or f"It has all that is needed. Next: make up{Environment(arguments.env_file).option}"
        )
        return 1 if faults else 0
    say(
        f"{arguments.env_file.name} is written, with secrets that only it knows. Keep a copy in a safe place."
    )
    say(f"Next: make up{Environment(arguments.env_file).option}")
    return 0


def _up(compose: Compose, arguments: argparse.Namespace) -> int:
    faults = preflight.faults(compose)
    if faults:
        raise Stopped("The platform was not started:\n\n" + "\n".join(f"- {each}" for each in faults))
    _stop_what_is_not_chosen(compose)
    wait = ("--wait", "--wait-timeout", str(arguments.patience))
    start = ("up", "--detach", "--build", "--remove-orphans", *wait)
    if compose.run(*start) != 0 and not (_recovers(compose) and compose.run(*start) == 0):
        return _explain(compose)
    say("\n" + status.table(status.rows(compose)))
    say("\n" + urls(compose.environment))
    return 0


def _recovers(compose: Compose) -> bool:
    """Compose gives up on a container that is unhealthy already, such as after an outage. Give it time to get well."""
    deadline = time.monotonic() + RECOVERY_SECONDS
    while time.monotonic() < deadline:
        said = {row.said for row in status.rows(compose) if not row.well and row.service != "front door"}
        if not said:
            return True
        if said - {"unhealthy", "starting"}:
            return False
        time.sleep(1)
    return False


def _stop_what_is_not_chosen(compose: Compose) -> None:
    """Services of a profile that was taken out of COMPOSE_PROFILES: Compose would let them run on."""
    chosen = compose.config()["services"]
    others = sorted({each["Service"] for each in compose.containers()} - set(chosen))
    if others:
        say(f"Stopping {', '.join(others)}: COMPOSE_PROFILES names their profile no more. Their data stay.")
        compose.run("--profile", "*", "rm", "--stop", "--force", "--volumes", *others)


def _explain(compose: Compose) -> int:
    """Why it did not come up: the sick services, and the end of what each said."""
    found = [row for row in status.rows(compose) if not row.well and row.service != "front door"]
    names = status.sick([row for row in found if row.name != "-"])
    if not names:
        say(
            "\nNothing new was started, for the reason that Docker gives above. If an image cannot be had: name "
            f"another in {compose.environment.path.name}, or leave its profile out of COMPOSE_PROFILES."
        )
        return 1
    say("\n" + status.table(found))
    for name in names:
        say(f"\n--- the end of the log of {name} ---")
        compose.run("logs", "--no-log-prefix", "--tail", LAST_LINES, name)
    say(f"\nNot well: {', '.join(names)}. Mend it and repeat: make up{compose.environment.option}")
    return 1


def _health(compose: Compose, arguments: argparse.Namespace) -> int:
    found = status.rows(compose)
    say(status.table(found))
    sick = status.sick(found)
    say(f"\nNot well: {', '.join(sick)}" if sick else f"\nAll is well: {len(found)} of {len(found)}.")
    return 1 if sick else 0


def _down(compose: Compose, arguments: argparse.Namespace) -> int:
    """Containers go with the volumes that have no name, which are caches; the named ones stay."""
    everything = ("--profile", "*")
    compose.run(*everything, "stop")
    compose.run(*everything, "rm", "--force", "--volumes")
    return compose.run(*everything, "down", "--remove-orphans")


def _clean(compose: Compose, arguments: argparse.Namespace) -> int:
    confirm(
        compose, "This deletes every account, dataset and model of the platform, and all that was measured."
    )
    return compose.run("--profile", "*", "down", "--volumes", "--remove-orphans")


def _backup(compose: Compose, arguments: argparse.Namespace) -> int:
    folder = backup.take(compose, arguments.to)
    size = sum(file.stat().st_size for file in folder.iterdir())
    say(
        f"{folder} is written ({size / 1e6:.1f} MB). It holds no secret of .env: keep that file elsewhere too."
    )
    return 0


def _restore(compose: Compose, arguments: argparse.Namespace) -> int:
    if arguments.source is None:
        raise Stopped("Which one? make restore FROM=backups/<directory>")
    contents = backup.check(arguments.source)
    confirm(compose, f"This replaces all that the platform holds by the backup of {contents['taken_at']}.")
    backup.restore(compose, arguments.source)
    say(f"The platform is where it was at {contents['taken_at']}.")
    return 0


def _scale(compose: Compose, arguments: argparse.Namespace) -> int:
    if not arguments.replicas.isdecimal() or int(arguments.replicas) < 1:
        raise Stopped(
            f"{arguments.replicas} is no number of replicas; give 1 or more, such as: make scale-ml N=3"
        )
    wait = ("--wait", "--wait-timeout", str(STARTING_SECONDS))
    wanted = f"{arguments.service}={arguments.replicas}"
    code = compose.run("up", "--detach", "--no-recreate", "--scale", wanted, *wait, arguments.service)
    setting = arguments.service.upper().replace("-", "_") + "_REPLICAS"
    if code == 0:
        say(
            f"{wanted}. To keep it so over the next make up, set {setting}={arguments.replicas} in "
            f"{compose.environment.path.name}."
        )
    return code


def _pass_on(compose: Compose, arguments: argparse.Namespace) -> int:
    os.chdir(REPOSITORY)
    os.execvpe(compose.base[0], [*compose.base, *arguments.rest], compose.variables)  # noqa: S606


def urls(environment: Environment) -> str:
    """Where to look, and how to sign in."""
    secure = bool(environment.certificate_digest())
    scheme, door = ("https", ("HTTPS_PORT", "443")) if secure else ("http", ("HTTP_PORT", "80"))
    address = status.published_on(environment).replace("127.0.0.1", "localhost")
    front = f"{scheme}://{address}:{environment.get(*door)}"
    alone = f"alone: {scheme}://{address}:"
    lines = [
        ("core", "the platform", front, "start here"),
        ("core", "API, Swagger", f"{front}/docs", alone + environment.get("API_PORT", "8000")),
        ("core", "predictions", f"{front}/ml/docs", alone + environment.get("ML_PORT", "8001")),
    ]
    tools = [
        ("core", "Flower", "FLOWER_PORT", "5555", "admin, FLOWER_PASSWORD"),
        ("core", "object storage", "S3_CONSOLE_PORT", "9001", "S3_ACCESS_KEY, S3_SECRET_KEY"),
        ("monitoring", "Prometheus", "PROMETHEUS_PORT", "9090", ""),
        ("monitoring", "Alertmanager", "ALERTMANAGER_PORT", "9093", ""),
        ("dashboards", "Grafana", "GRAFANA_PORT", "3001", "admin, GRAFANA_PASSWORD"),
        ("logging", "Kibana", "KIBANA_PORT", "5601", "elastic, ELASTIC_PASSWORD"),
    ]
    lines += [
        (profile, name, f"http://localhost:{environment.get(setting, default)}", login)
        for profile, name, setting, default, login in tools
    ]
    chosen = [line[1:] for line in lines if {line[0], "*"} & set(environment.profiles)]
    width = max((len(url) for _, url, _ in chosen), default=0)
    shown = [f"  {name:<15} {url:<{width}}  {login}".rstrip() for name, url, login in chosen]
    accounts = [f"{name}, {setting}" for name, setting in _accounts(environment)]
    return "\n".join([*shown, f"\nAccounts: {' · '.join(accounts) or 'none yet'} (passwords are in .env)"])


def _accounts(environment: Environment) -> list[tuple[str, str]]:
    known = [(environment.get("ADMIN_USERNAME", "admin"), "ADMIN_PASSWORD"), ("demo", "DEMO_PASSWORD")]
    return [(name, setting) for name, setting in known if environment.get(setting)]


def confirm(compose: Compose, consequence: str) -> None:
    """Raises Stopped unless the person agrees; YES=1 agrees beforehand."""
    consequence = f"{consequence} It is the platform {compose.name!r} of {compose.environment.path.name}."
    if os.environ.get("YES") == "1":
        return
    if not sys.stdin.isatty():
        raise Stopped(f"{consequence} Nothing was done; to agree without being asked: YES=1")
    if input(f"{consequence}\nType yes to go on: ").strip().lower() != "yes":
        raise Stopped("Nothing was done.")


def _path(text: str) -> Path:
    return Path(text).resolve()


def say(text: str) -> None:
    sys.stdout.write(text + "\n")
    sys.stdout.flush()


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m compose", description=__doc__)
    parser.add_argument("--env-file", type=_path, default=REPOSITORY / ".env")
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    setup = commands.add_parser("dev-setup", help="write .env with fresh secrets")
    setup.set_defaults(run=_dev_setup)
    up = _add(commands, "up", _up, "check, build, start, wait until all is healthy")
    up.add_argument("--patience", type=int, default=STARTING_SECONDS, help="seconds to wait")
    _add(commands, "health", _health, "a table of every service; exit code 1 if one is not well")
    _add(commands, "down", _down, "stop everything, and keep the data")
    _add(commands, "clean", _clean, "stop everything, and delete the data")
    take = _add(commands, "backup", _backup, "write database and objects to a new directory")
    take.add_argument("--to", type=Path, default=REPOSITORY / "backups")
    put = _add(commands, "restore", _restore, "replace all data by those of a backup")
    put.add_argument("source", type=Path, nargs="?", help="the backup's directory")
    scale = _add(commands, "scale", _scale, "run so many replicas of a service")
    scale.add_argument("service")
    scale.add_argument("replicas")
    rest = _add(
        commands, "run", _pass_on, "any command of docker compose on this platform", prefix_chars="\0"
    )
    rest.add_argument("rest", nargs=argparse.REMAINDER)  # with options of its own, which are not for us
    return parser


def _add(
    commands: "argparse._SubParsersAction[argparse.ArgumentParser]",
    name: str,
    work: Work,
    help_text: str,
    *,
    prefix_chars: str = "-",
) -> argparse.ArgumentParser:
    own_help = "-" in prefix_chars
    parser = commands.add_parser(name, help=help_text, prefix_chars=prefix_chars, add_help=own_help)

    def run(arguments: argparse.Namespace) -> int:
        environment = Environment(arguments.env_file)
        if not environment.path.exists() and work is not _up:
            raise Stopped(environment.faults()[0])
        return work(Compose(engine.find(), environment), arguments)

    parser.set_defaults(run=run)
    return parser


if __name__ == "__main__":
    sys.exit(main())
