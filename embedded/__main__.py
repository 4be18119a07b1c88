"""`python -m embedded dev | demo | run -- COMMAND | cli -- COMMAND | memory | clean`: the platform on this machine."""

import argparse
import asyncio
import os
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

from embedded import memory, orphans
from embedded.commands import run_command, run_control_plane, run_dev
from embedded.errors import StartFailed
from embedded.layout import REPOSITORY, Layout
from embedded.logs import complain
from embedded.stack import Options

DEMO = (sys.executable, "-m", "examples.python_client_demo")


def main() -> int:
    arguments = _parser().parse_args()
    try:
        code: int = arguments.run(arguments)
    except StartFailed as reason:
        complain(f"\n{reason}")
        return 1
    return code


def _dev(arguments: argparse.Namespace) -> int:
    return asyncio.run(run_dev(_options(arguments)))


def _demo(arguments: argparse.Namespace) -> int:
    return asyncio.run(run_command(_options(arguments), DEMO))


def _run(arguments: argparse.Namespace) -> int:
    options = _options(arguments)
    if arguments.servers_only:
        options = replace(options, services=())
    return asyncio.run(run_command(options, arguments.command))


def _cli(arguments: argparse.Namespace) -> int:
    return run_control_plane(_options(arguments), arguments.command)


def _memory(arguments: argparse.Namespace) -> int:
    print(memory.table(memory.usages(Layout(arguments.data_dir.resolve()))))
    return 0


def _clean(arguments: argparse.Namespace) -> int:
    layout = Layout(arguments.data_dir.resolve())
    if not layout.run.exists():
        print(f"There is no platform data in {layout.root}.")
        return 0
    with layout.exclusive():
        orphans.reclaim(layout.run / "processes.json")
        layout.clean()
    print(f"The platform data in {layout.root} are deleted.")
    return 0


def _options(arguments: argparse.Namespace) -> Options:
    return Options(
        data_dir=arguments.data_dir,
        api_host=os.environ.get("API_HOST") or "127.0.0.1",
        api_port=arguments.api_port,
        ml_host=os.environ.get("ML_HOST") or "127.0.0.1",
        ml_port=arguments.ml_port,
    )


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m embedded", description=__doc__)
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    _add(commands.add_parser("dev", help="start, and stay until Ctrl-C"), _dev)
    _add(commands.add_parser("demo", help="start, run the whole loop once, and stop"), _demo)
    run = _add(commands.add_parser("run", help="start, run a command against the platform, and stop"), _run)
    run.add_argument(
        "--servers-only", action="store_true", help="only the four servers, none of our services"
    )
    run.add_argument("command", nargs="+", help="after --")
    cli = _add(
        commands.add_parser("cli", help="run a command of the control plane beside a running platform"), _cli
    )
    cli.add_argument("command", nargs="+", help="after --, such as: verify-audit")
    _add(
        commands.add_parser("memory", help="what each process of a running platform keeps in memory"), _memory
    )
    _add(commands.add_parser("clean", help="delete all data of a stopped platform"), _clean)
    return parser


def _add(
    parser: argparse.ArgumentParser, run: Callable[[argparse.Namespace], int]
) -> argparse.ArgumentParser:
    data_dir = Path(os.environ.get("PLATFORM_DATA_DIR") or REPOSITORY / ".data")
    parser.set_defaults(run=run)
    parser.add_argument(
        "--data-dir", type=Path, default=data_dir, help="what it keeps (default: %(default)s)"
    )
    for name, port in (("api", 8000), ("ml", 8001)):
        default = int(os.environ.get(f"{name.upper()}_PORT") or port)
        parser.add_argument(
            f"--{name}-port", type=int, default=default, help="0 chooses a free one (default: %(default)s)"
        )
    return parser


if __name__ == "__main__":
    sys.exit(main())
