"""The sample service as a process: `python -m tests.platform_kit.plumbing.served PORT DRAIN_SECONDS`."""

import sys

from platform_kit.plumbing.http import serve
from tests.platform_kit.plumbing.sample import service

if __name__ == "__main__":
    port, seconds = sys.argv[1:]
    app = service(drain_seconds=float(seconds))
    serve(app, host="127.0.0.1", port=int(port), draining=app.state.draining)
