"""Waits until Celery workers consume: `python -m embedded.consuming ml@host=ml data@host=data`.

Asks them over the broker, as Celery's own `inspect active_queues` does. A process of its own, because the
client library would stay in the supervisor's memory for good.
"""

import os
import sys
from typing import Any

from kombu import Connection
from kombu.exceptions import OperationalError
from kombu.pidbox import Mailbox

REPLY_SECONDS = 1.0


def main() -> None:
    missing = dict(argument.split("=", 1) for argument in sys.argv[1:])
    while missing:
        for node in consuming(os.environ["BROKER_URL"], missing):
            del missing[node]


def consuming(broker_url: str, nodes: dict[str, str]) -> list[str]:
    """Which of `nodes` (name: queue) take messages from their queue now."""
    try:
        with Connection(broker_url, transport_options={"socket_timeout": 5}) as connection:
            replies = _ask(connection, expected=len(nodes))
    except OperationalError:
        return []
    return [
        node
        for reply in replies
        for node, queues in reply.items()
        if nodes.get(node) in {queue["name"] for queue in queues}
    ]


def _ask(connection: Connection, *, expected: int) -> list[dict[str, Any]]:
    mailbox: Any = Mailbox("celery", type="fanout", accept=["json"])  # the stubs miss what calling it returns
    bound = mailbox(connection)
    replies: list[dict[str, Any]] = bound.multi_call("active_queues", timeout=REPLY_SECONDS, limit=expected)
    return replies


if __name__ == "__main__":
    main()
