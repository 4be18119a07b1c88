"""Structured logs: one JSON object a line on stdout, field names as in the Elastic Common Schema."""

import logging
import sys
from collections.abc import MutableMapping
from typing import Any

import structlog
from structlog.typing import Processor

Event = MutableMapping[str, Any]


def set_up_logging(service: str, *, level: str = "INFO", log_format: str = "json") -> None:
    """Send structlog and the standard library's loggers through one pipeline to stdout."""
    shared: list[Processor] = [
        structlog.contextvars.merge_contextvars,
        structlog.stdlib.add_log_level,
        structlog.stdlib.add_logger_name,
        structlog.processors.TimeStamper(fmt="iso", utc=True, key="@timestamp"),
        structlog.processors.StackInfoRenderer(),
    ]
    structlog.configure(
        processors=[*shared, structlog.stdlib.ProcessorFormatter.wrap_for_formatter],
        logger_factory=structlog.stdlib.LoggerFactory(),
        wrapper_class=structlog.stdlib.BoundLogger,
        cache_logger_on_first_use=True,
    )
    final: list[Processor] = [structlog.stdlib.ProcessorFormatter.remove_processors_meta]
    if log_format == "json":
        final += [
            structlog.processors.format_exc_info,
            _EcsNames(service),
            structlog.processors.JSONRenderer(),
        ]
    else:
        final += [structlog.dev.ConsoleRenderer(colors=sys.stdout.isatty())]
    handler = logging.StreamHandler(sys.stdout)
    handler.setFormatter(structlog.stdlib.ProcessorFormatter(foreign_pre_chain=shared, processors=final))
    root = logging.getLogger()
    root.handlers = [handler]
    root.setLevel(level.upper())
    _quieten()


def _quieten() -> None:
    """Libraries that log each request or start their own handlers."""
    for name in ("uvicorn", "uvicorn.error", "uvicorn.access", "celery", "celery.task"):
        logging.getLogger(name).handlers = []
        logging.getLogger(name).propagate = True
    for name in ("uvicorn.access", "httpx2", "httpcore2", "urllib3", "alembic.runtime.plugins"):
        logging.getLogger(name).setLevel(logging.WARNING)


class _EcsNames:
    """Rename structlog's keys to the ones log searches expect."""

    def __init__(self, service: str) -> None:
        self._service = service

    def __call__(self, logger: Any, method: str, event: Event) -> Event:
        event["message"] = event.pop("event", "")
        event["log.level"] = event.pop("level", method)
        event["log.logger"] = event.pop("logger", None)
        event["service.name"] = self._service
        if "request_id" in event:
            event["http.request.id"] = event.pop("request_id")
        if "exception" in event:
            event["error.stack_trace"] = event.pop("exception")
        return event
