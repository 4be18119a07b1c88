"""Both services as processes on real servers, with nobody who works jobs off: what is asked twice answers alike."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from embedded import Platform

SERVICES = ("seed-accounts", "api-server", "ml-service")
SETTINGS = {
    "ACCESS_TOKEN_SECONDS": "86400",
    "SYNC_INTERVAL_SECONDS": "0.1",
    "DEPLOY_WAIT_SECONDS": "0.2",
    **dict.fromkeys(("RATE_LIMIT_ADDRESS", "RATE_LIMIT_PRINCIPAL"), "10000000/minute"),
    **dict.fromkeys(("PASSWORD_RESET_LIMIT", "REGISTRATION_LIMIT"), "10000000/minute"),
    **dict.fromkeys(("PREDICT_RATE_LIMIT_ADDRESS", "PREDICT_RATE_LIMIT_PRINCIPAL"), "10000000/minute"),
    **dict.fromkeys(("LOGIN_FAILURES_PER_HOUR", "LOGIN_FAILURES_PER_ADDRESS_HOUR"), "10000000"),
}
"""Tokens that outlive the run, and limits that nobody meets: a 429 tells nothing about a route."""


@contextmanager
def running_services(data_dir: Path) -> Iterator[Platform]:
    with Platform(data_dir, services=SERVICES, extra=SETTINGS) as platform:
        yield platform


def faults(platform: Platform) -> list[str]:
    """Requests that ended in an error nobody had thought of (500), as the services logged them."""
    logs = [platform.log(each) for each in ("api-server", "ml-service")]
    return [line for log in logs for line in log.splitlines() if '"request.failed"' in line]
