"""Is it alive? For the health checks of containers, so quick to start: only the standard library.

    python -m platform_kit.plumbing.probe http://127.0.0.1:8000/health/ready    answers 2xx within 3 s
    python -m platform_kit.plumbing.probe /tmp/alive 30                         was touched within 30 s

Exit code 0 is yes; otherwise it is 1, and a line says why.
"""

import http.client
import os
import signal
import sys
import time
from collections.abc import Sequence

ANSWER_SECONDS = 3.0
SHOWN_CHARACTERS = 300


def main() -> None:
    fault = find_fault(sys.argv[1:])
    if fault is not None:
        sys.exit(" ".join(fault.split())[:SHOWN_CHARACTERS])


def find_fault(arguments: Sequence[str]) -> str | None:
    match arguments:
        case [url] if url.startswith("http://"):
            return _http_fault(url)
        case [path, seconds] if seconds.replace(".", "", 1).isdigit():
            return _file_fault(path, float(seconds))
        case _:
            return "usage: probe http://HOST:PORT/PATH, or: probe FILE SECONDS"


def _http_fault(url: str) -> str | None:
    host, slash, path = url.removeprefix("http://").partition("/")
    signal.signal(signal.SIGALRM, _give_up)
    signal.setitimer(
        signal.ITIMER_REAL, ANSWER_SECONDS
    )  # for all of it; a socket's time limit is for each read
    try:
        connection = http.client.HTTPConnection(host)
        connection.request("GET", slash + path or "/")
        answer = connection.getresponse()
        body = answer.read(SHOWN_CHARACTERS).decode(errors="replace")
    except (OSError, http.client.HTTPException) as error:
        return f"{url}: {error or type(error).__name__}"
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
    return None if 200 <= answer.status < 300 else f"{url} answered {answer.status}: {body}"


def _give_up(*_: object) -> None:
    raise TimeoutError(f"no answer within {ANSWER_SECONDS:g} s")


def _file_fault(path: str, seconds: float) -> str | None:
    try:
        age = time.time() - os.stat(path).st_mtime
    except OSError as error:
        return f"{path}: {error.strerror}"
    return None if age <= seconds else f"{path} was last touched {age:.0f} s ago, more than {seconds:g} s"


if __name__ == "__main__":
    main()
