"""docs/access.md, made from the code that enforces it: `make access-page` writes it."""

import os
import sys
from collections.abc import Iterable, Iterator
from unittest.mock import patch

from api_server.auth.permissions import RULES, Action, Rule
from api_server.main import create_app as create_api
from api_server.settings import Settings as ApiSettings
from ml_service.app import create_app as create_ml
from ml_service.serving.access import OPERATING, PREDICTING, READING, Purpose
from ml_service.settings import Settings as MlSettings
from tests.access.routes import Route, routes_of

INTRODUCTION = """# Who may do what

This page is made from the code that enforces it (`make access-page`); `make check` compares the two. The tests in
`tests/access` hold a table of their own, written by hand, against every route of both services.

A request is allowed when all of these allow it: the platform role, the role in the project that the thing is in, and,
if it comes with an API key, the key's scopes and what the key is bound to. Roles are read from the database for each
request: a change holds from the next request on, at ml-service within two seconds.

A thing in a project that is not yours looks like one that does not exist: 404, with the same words. 403 is for what you
may see and not do. Whoever is refused, and whoever changes something, is in the audit log.

## Platform roles

**`user`** reads, and predicts, where a project's owner has invited them. **`data_scientist`** also creates projects,
and, as editor or owner of a project, uploads, trains and deploys in it. **`admin`** also sees every project, without
being a member, with the rights of an owner; and manages accounts, quotas and the audit log. Each role includes the
ones before it. A new account gets `REGISTRATION_ROLE`.

## Roles in a project

**`viewer`** reads everything in the project, and predicts. **`editor`** also uploads, trains, deploys, changes and
deletes what is in it. **`owner`** also manages members, and deletes the project. Each role includes the ones before it.
One of the owners is the primary one, who can hand the project over. Both roles must suffice: a `user` who is made an
editor reads and predicts, and no more.

## Scopes of an API key

A key acts for the account that made it, and never may more than that account may now. A scope includes no other.
**`predict`**: predictions, and what a model wants as input. **`read`**: everything that reads. **`write`**: creating,
changing, training and deleting. **`deploy`**: deploying, rolling back and retiring, and, for a key of an
administrator, unloading and reloading models. **`audit`**: the audit log, for a key of an administrator. No key manages
accounts, sessions, keys, members or quotas. A key may be bound to one project: other projects do not exist for it, also
if it is an administrator's, and it creates none. One that is bound to an endpoint predicts there only.
"""

ACTIONS = """
## Actions

Each route is one action. No project role: the action is on nothing that is in a project. Active: not while the project
is archived or completed.
"""

ROUTES = """
## Routes of api-server

"""

ML_ROUTES = """
## Routes of ml-service

It asks api-server who calls, what the credential is for, and in which projects. The demo models answer anybody; for
any other model the caller needs to be a viewer of its project, and an administrator to unload or reload it. `/models`
and `/stats` answer everybody, with the models that the caller may ask; a credential that is sent must hold. A model's
page (`/models/{model}/docs`) is the same for every name, and knows nothing of the model itself.

"""

PURPOSES: dict[str, Purpose | None] = {
    "/predict/": PREDICTING,
    "/models/{model}/unload": OPERATING,
    "/models/{model}/reload": OPERATING,
    "/models/{model}/docs": None,
    "/models/": READING,
    "/models": READING,
    "/stats": READING,
}
"""By how a path begins; the first that fits. None: it asks nobody."""

OPEN_PATHS = ("/models/{model}/docs", "/health", "/docs", "/redoc", "/openapi.json", "/metrics")
NOWHERE = "nowhere:1"


def page() -> str:
    api, ml = _services()
    parts = (
        INTRODUCTION,
        ACTIONS,
        "\n".join(["", *_actions(), ""]),
        ROUTES,
        "\n".join([*_api_routes(api), ""]),
        ML_ROUTES,
        "\n".join([*_ml_routes(ml), ""]),
    )
    return "".join(parts)


def _services() -> tuple[list[Route], list[Route]]:
    """The applications are made and never started: none of the addresses is called."""
    secret = "only to list routes " * 2
    environment = {
        "DATABASE_URL": f"postgresql+asyncpg://a:a@{NOWHERE}/a",
        **{name: f"redis://:a@{NOWHERE}/0" for name in ("BROKER_URL", "CACHE_URL")},
        **dict.fromkeys(("JWT_SECRET", "INTERNAL_TOKEN", "S3_SECRET_KEY"), secret),
        "S3_ENDPOINT": NOWHERE,
        "S3_ACCESS_KEY": "a",
    }
    with patch.dict(os.environ, environment, clear=True):
        api, ml = create_api(ApiSettings.from_environment()), create_ml(MlSettings.from_environment())
    return routes_of(api), routes_of(ml)


def _actions() -> Iterator[str]:
    yield "| action | is to | platform role | project role | API key | active |"
    yield "|---|---|---|---|---|---|"
    for action, rule in RULES.items():
        cells = (
            f"`{action}`",
            rule.says,
            _role(rule),
            rule.project or "",
            _scope(rule),
            "yes" if rule.needs_active else "",
        )
        yield _row(cells)


def _role(rule: Rule) -> str:
    return rule.role or "anybody"


def _scope(rule: Rule) -> str:
    if rule.role is None:
        return "not asked"
    return f"`{rule.scope}`" if rule.scope else "no key"


def _api_routes(routes: list[Route]) -> Iterator[str]:
    yield "| route | action |"
    yield "|---|---|"
    for each in routes:
        if each.path.startswith("/internal"):
            yield _row((f"`{each.name}`", "for the platform's own processes"))
        else:
            yield _row((f"`{each.name}`", ", ".join(f"`{action}`" for action in each.actions) or _open(each)))


def _ml_routes(routes: list[Route]) -> Iterator[str]:
    yield "| route | action | an API key needs |"
    yield "|---|---|---|"
    for each in routes:
        purpose = next((found for start, found in PURPOSES.items() if each.path.startswith(start)), None)
        if purpose is None:
            yield _row((f"`{each.name}`", _open(each), ""))
        else:
            scopes = " or ".join(f"`{scope}`" for scope in purpose.scopes)
            yield _row((f"`{each.name}`", f"`{Action(purpose.action)}`", scopes))


def _open(route: Route) -> str:
    if not route.path.startswith(OPEN_PATHS):
        raise ValueError(f"{route.name} does not say what it is")
    return "for operators; nginx does not route it" if route.path == "/metrics" else "anybody"


def _row(cells: Iterable[str]) -> str:
    return f"| {' | '.join(cells)} |"


if __name__ == "__main__":
    sys.stdout.write(page())
