"""A page in a real browser, spoken to in the browser's own protocol for developers."""

import json
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import count
from pathlib import Path
from typing import Any

import httpx2
from websockets.sync.client import ClientConnection, connect

START_SECONDS = 30.0
LOOK_SECONDS = 30.0


class Page:
    def __init__(self, connection: ClientConnection) -> None:
        self._connection = connection
        self._numbers = count(1)
        self.complaints: list[str] = []
        """What stands in the console as a warning or an error; breaches of the page's policy among them."""
        for domain in ("Page", "Runtime", "Log"):
            self._ask(f"{domain}.enable")

    def open(self, url: str) -> None:
        self.complaints.clear()
        self._ask("Page.navigate", url=url)

    def run(self, script: str) -> Any:
        """What an expression gives in the page."""
        answer = self._ask("Runtime.evaluate", expression=script, returnByValue=True, awaitPromise=True)
        assert "exceptionDetails" not in answer, answer["exceptionDetails"]
        return answer["result"].get("value")

    def wait_for(self, script: str) -> None:
        """Until an expression holds."""
        deadline = time.monotonic() + LOOK_SECONDS
        while not self.run(script):
            assert time.monotonic() < deadline, f"{script} does not come to hold; {self.complaints}"
            time.sleep(0.1)

    def click(self, selector: str) -> None:
        self.wait_for(f"document.querySelector({selector!r}) !== null")
        self.run(f"document.querySelector({selector!r}).click()")

    def type(self, selector: str, text: str) -> None:
        """As a person does: the page's own framework has to notice."""
        self.wait_for(f"document.querySelector({selector!r}) !== null")
        self.run(f"document.querySelector({selector!r}).focus()")
        self._ask("Input.insertText", text=text)

    def _ask(self, method: str, **arguments: Any) -> Any:
        number = next(self._numbers)
        self._connection.send(json.dumps({"id": number, "method": method, "params": arguments}))
        while True:
            message = json.loads(self._connection.recv(timeout=LOOK_SECONDS))
            if message.get("id") == number:
                assert "error" not in message, message["error"]
                return message["result"]
            self._note(message)

    def _note(self, event: dict[str, Any]) -> None:
        arguments = event.get("params", {})
        if event["method"] == "Log.entryAdded" and arguments["entry"]["level"] in ("warning", "error"):
            self.complaints.append(arguments["entry"]["text"])
        if event["method"] == "Runtime.consoleAPICalled" and arguments["type"] in ("warning", "error"):
            self.complaints.append(str([each.get("value") for each in arguments["args"]]))
        if event["method"] == "Runtime.exceptionThrown":
            self.complaints.append(str(arguments["exceptionDetails"]))


@contextmanager
def browser(folder: Path) -> Iterator[Page]:
    """Chromium without a window, on a profile in `folder`; yields its page."""
    options = [
        "--headless=new",
        "--no-sandbox",
        "--disable-gpu",
        "--remote-debugging-port=0",
        "--no-first-run",
    ]
    process = subprocess.Popen(
        ["chromium", *options, f"--user-data-dir={folder}", "about:blank"],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    try:
        with connect(_page_address(folder / "DevToolsActivePort"), max_size=None) as connection:
            yield Page(connection)
    finally:
        process.terminate()
        process.wait(START_SECONDS)


def _page_address(announcement: Path) -> str:
    deadline = time.monotonic() + START_SECONDS
    while not (announcement.exists() and announcement.read_text().strip()):
        assert time.monotonic() < deadline, "the browser does not start"
        time.sleep(0.1)
    port = announcement.read_text().split()[0]
    targets = httpx2.get(f"http://127.0.0.1:{port}/json/list").json()
    return next(str(each["webSocketDebuggerUrl"]) for each in targets if each["type"] == "page")
