"""One platform: takes its data directory, brings up servers and services, and puts everything away again."""

import uuid
from collections.abc import Collection, Mapping
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Self

from embedded import orphans, ports
from embedded.credentials import Secrets, update_credentials
from embedded.layout import Layout
from embedded.logs import Terminal
from embedded.recipe import Recipe
from embedded.servers import SERVERS, servers
from embedded.services import SERVICES, Addresses, inherited, services, settings
from embedded.supervisor import Supervisor


@dataclass(frozen=True, kw_only=True)
class Options:
    """A port of 0 is chosen free."""

    data_dir: Path
    api_host: str = "127.0.0.1"
    api_port: int = 0
    ml_host: str = "127.0.0.1"
    ml_port: int = 0
    services: Collection[str] = SERVICES
    extra: Mapping[str, str] = field(default_factory=dict)
    """More settings for the services."""


class Stack:
    """Use as `async with Stack(options) as stack`: entering waits until all is ready; raises StartFailed."""

    def __init__(self, options: Options, *, terminal: Terminal | None = None) -> None:
        self.options, self._terminal = options, terminal
        self.layout = Layout(options.data_dir.resolve())
        self._held = ExitStack()
        self._supervisor: Supervisor | None = None
        self.addresses: Addresses
        self.secrets: Secrets
        self.ports: dict[str, int]
        self.credentials: dict[str, Any]

    async def __aenter__(self) -> Self:
        try:
            self._prepare()
            assert self._supervisor
            await self._supervisor.start()
        except BaseException:
            await self._put_away()
            raise
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._put_away()

    @property
    def supervisor(self) -> Supervisor:
        assert self._supervisor, "the platform has not been entered"
        return self._supervisor

    @property
    def settings(self) -> dict[str, str]:
        """What the services read from their environment, all of it."""
        return {**settings(self.layout, self.secrets, self.ports, self.addresses), **self.options.extra}

    def kill(self) -> None:
        """End all processes at once, also while starting or stopping."""
        if self._supervisor:
            self._supervisor.kill()

    def _prepare(self) -> None:
        self.layout.prepare()
        self._held.enter_context(self.layout.exclusive())
        journal = self.layout.run / "processes.json"
        for line in orphans.reclaim(journal):
            self._say(line)
        self.ports = self._held.enter_context(ports.chosen(self.layout.run / "ports.json"))
        self.addresses = self._addresses()
        self.secrets = Secrets.of(self.layout.secrets)
        self.credentials = update_credentials(
            self.layout.credentials, api_url=self.addresses.api_url, ml_url=self.addresses.ml_url
        )
        self._supervisor = Supervisor(
            self._recipes(),
            logs=self.layout.logs,
            journal=journal,
            run_id=uuid.uuid4().hex,
            environment={**inherited(), **self.options.extra},
            terminal=self._terminal,
        )

    def _addresses(self) -> Addresses:
        wanted = self.options
        if wanted.api_port and "api-server" in wanted.services:
            ports.require_free(wanted.api_port, host=wanted.api_host, setting="API_PORT")
        if wanted.ml_port and "ml-service" in wanted.services:
            ports.require_free(wanted.ml_port, host=wanted.ml_host, setting="ML_PORT")
        return Addresses(
            api_host=wanted.api_host,
            api_port=wanted.api_port or self.ports["api"],
            ml_host=wanted.ml_host,
            ml_port=wanted.ml_port or self.ports["ml"],
        )

    def _recipes(self) -> list[Recipe]:
        inner = servers(self.layout, self.secrets, self.ports)
        ours = services(self.layout, self.secrets, self.ports, self.addresses)
        return [*inner, *_with_needs(ours, set(self.options.services))]

    async def _put_away(self) -> None:
        try:
            if self._supervisor:
                await self._supervisor.stop()
        finally:
            self._held.close()

    def _say(self, line: str) -> None:
        if self._terminal:
            self._terminal.say(line)


def _with_needs(recipes: list[Recipe], wanted: set[str]) -> list[Recipe]:
    """The wanted recipes and all that these need, in the order of the table."""
    by_name = {recipe.name: recipe for recipe in recipes}
    names: set[str] = set()
    pending = list(wanted)
    while pending:
        name = pending.pop()
        if name in names or name in SERVERS:
            continue
        names.add(name)
        pending += by_name[name].needs
    return [recipe for recipe in recipes if recipe.name in names]
