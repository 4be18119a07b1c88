"""What the command line does with a platform: stay with it, or run one command against it."""

import asyncio
import signal
import subprocess
import sys
import time
from collections.abc import Awaitable, Sequence
from contextlib import AsyncExitStack, suppress
from typing import TypeVar

from embedded.credentials import Secrets
from embedded.errors import StartFailed
from embedded.interrupts import Interrupts
from embedded.layout import Layout, read_json
from embedded.logs import Terminal, complain
from embedded.services import FLOWER_USER, Addresses, inherited, settings
from embedded.stack import Options, Stack

INTERRUPTED = 130
COMMAND_STOP_SECONDS = 3.0

Result = TypeVar("Result")


class Interrupted(Exception):
    """The user wants everything to end."""


async def run_dev(options: Options) -> int:
    """Start, say so, and stay until a signal. Ending that way is success."""
    terminal = Terminal()
    stack = Stack(options, terminal=terminal)
    interrupts = Interrupts(force=stack.kill)
    terminal.say("Starting the platform. Ctrl-C stops it.")
    started = time.monotonic()
    try:
        async with AsyncExitStack() as held:
            await _unless(interrupts, held.enter_async_context(stack))
            terminal.say(_welcome(stack, seconds=time.monotonic() - started))
            terminal.say("platform ready")
            await interrupts.asked.wait()
            terminal.say("\nStopping (Ctrl-C again ends everything at once) ...")
    except Interrupted:
        terminal.say("\nStopped before it was ready.")
    finally:
        await asyncio.to_thread(terminal.close)
    return 0


async def run_command(options: Options, command: Sequence[str]) -> int:
    """Start quietly, run `command` with the platform's addresses in its environment; returns its exit code."""
    stack = Stack(options)
    interrupts = Interrupts(force=stack.kill)
    complain(f"Starting the platform (its logs are in {stack.layout.logs}) ...")
    started = time.monotonic()
    try:
        async with AsyncExitStack() as held:
            await _unless(interrupts, held.enter_async_context(stack))
            complain(f"It is ready after {time.monotonic() - started:.1f} s.")
            code = await _foreground(command, stack=stack, interrupts=interrupts)
            if code != 0 and not interrupts.asked.is_set():
                complain(f"\n{command[-1]} ended with exit code {code}.")
                for paragraph in stack.supervisor.sick():
                    complain(paragraph)
                complain(f"All logs are in {stack.layout.logs}.")
    except Interrupted:
        return INTERRUPTED
    return INTERRUPTED if interrupts.asked.is_set() else code


def run_control_plane(options: Options, arguments: Sequence[str]) -> int:
    """Run a command of `api_server.cli` beside a platform that runs already, as the application's database role."""
    layout = Layout(options.data_dir.resolve())
    ports = read_json(layout.run / "ports.json")
    if not ports or not layout.secrets.exists():
        raise StartFailed(f"There is no platform in {layout.root}; start one with make dev.")
    addresses = Addresses(options.api_host, options.api_port, options.ml_host, options.ml_port)
    environment = {**inherited(), **settings(layout, Secrets.of(layout.secrets), ports, addresses)}
    command = (sys.executable, "-m", "api_server.cli", *arguments)
    return subprocess.run(command, env=environment, check=False).returncode


async def _unless(interrupts: Interrupts, work: Awaitable[Result]) -> Result:
    """Wait for `work`; raises Interrupted, after cleaning up, when the user does not want to wait."""
    working = asyncio.ensure_future(work)
    asked = asyncio.ensure_future(interrupts.asked.wait())
    await asyncio.wait({working, asked}, return_when=asyncio.FIRST_COMPLETED)
    asked.cancel()
    if working.done():
        return working.result()
    working.cancel()
    with suppress(asyncio.CancelledError):
        await working
    raise Interrupted


async def _foreground(command: Sequence[str], *, stack: Stack, interrupts: Interrupts) -> int:
    """Run in our own process group: the terminal's Ctrl-C reaches the command too."""
    process = await asyncio.create_subprocess_exec(*command, env=_environment(stack))
    ended = asyncio.ensure_future(process.wait())
    asked = asyncio.ensure_future(interrupts.asked.wait())
    await asyncio.wait({ended, asked}, return_when=asyncio.FIRST_COMPLETED)
    asked.cancel()
    if not ended.done():
        process.send_signal(signal.SIGINT)
        await asyncio.wait({ended}, timeout=COMMAND_STOP_SECONDS)
    if not ended.done():
        process.kill()
    return await ended


def _environment(stack: Stack) -> dict[str, str]:
    return {
        **inherited(),
        "API_URL": stack.addresses.api_url,
        "ML_URL": stack.addresses.ml_url,
        "MLP_BASE_URL": stack.addresses.api_url,
        "MLP_ML_URL": stack.addresses.ml_url,
        "PLATFORM_DATA_DIR": str(stack.layout.root),
    }


def _welcome(stack: Stack, *, seconds: float) -> str:
    demo = next(user for user in stack.credentials["users"] if user["username"] == "demo")
    api_url, ml_url = stack.addresses.api_url, stack.addresses.ml_url
    rows = [
        ("API", f"{api_url}/api/v1     docs {api_url}/docs"),
        ("Predictions", f"{ml_url}     docs {ml_url}/docs"),
        (
            "Workers",
            f"http://127.0.0.1:{stack.ports['flower']} (Flower; {FLOWER_USER}, {stack.secrets.flower})",
        ),
        ("Storage", f"http://127.0.0.1:{stack.ports['s3']} (S3; keys in {stack.layout.secrets})"),
        ("Sign in", f"{demo['username']}  {demo['password']}     (and admin: {stack.layout.credentials})"),
        ("Logs", f"{stack.layout.logs}/"),
    ]
    lines = "\n".join(f"  {name:<12} {what}" for name, what in rows)
    return f"\nThe platform is ready after {seconds:.1f} s.\n\n{lines}\n"
