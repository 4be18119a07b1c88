"""For all tests, whether one process runs them or several.

`@pytest.mark.needs("nginx")` marks what cannot be tested without a tool of the system. Such tests are listed as not
run; continuous integration, which installs the tools, fails on that.
`@pytest.mark.alone` marks what measures how long something takes: no test of another process runs beside it.
"""

import shutil
from collections.abc import Generator
from pathlib import Path

import pytest
from xdist.remote import Producer
from xdist.workermanage import WorkerController

from tests.side_by_side import SideBySide, Turns, in_order, is_alone, processes_for

_not_run = pytest.StashKey[list[str]]()
_turns = pytest.StashKey[Turns]()


def pytest_configure(config: pytest.Config) -> None:
    config.stash[_not_run] = []
    if _is_one_of_several(config):
        config.stash[_turns] = Turns(Path(config.getoption("basetemp")).parent)


def pytest_runtest_setup(item: pytest.Item) -> None:
    tools = [str(tool) for marker in item.iter_markers("needs") for tool in marker.args]
    absent = [tool for tool in tools if shutil.which(tool) is None]
    if absent:
        item.config.stash[_not_run].append(f"not run: {item.nodeid} needs {', '.join(absent)}")
        pytest.skip(f"needs {', '.join(absent)}")


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter, config: pytest.Config) -> None:
    for line in config.stash[_not_run]:
        terminalreporter.write_line(line, yellow=True)


def _is_one_of_several(config: pytest.Config) -> bool:
    return hasattr(config, "workeroutput")


def pytest_xdist_auto_num_workers(config: pytest.Config) -> int:
    return processes_for(config)


def pytest_xdist_make_scheduler(config: pytest.Config, log: Producer) -> SideBySide:
    return SideBySide(config, log)


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    if _is_one_of_several(config):
        items[:] = in_order(items)


@pytest.hookimpl(wrapper=True, tryfirst=True)  # around the time limit: waiting is not the test's fault
def pytest_runtest_protocol(
    item: pytest.Item, nextitem: pytest.Item | None
) -> Generator[None, object, object]:
    if not _is_one_of_several(item.config):
        return (yield)
    with item.config.stash[_turns].turn(alone=is_alone(item), next_alone=is_alone(nextitem)):
        return (yield)


def pytest_sessionfinish(session: pytest.Session) -> None:
    if _is_one_of_several(session.config):
        session.config.workeroutput["not run"] = session.config.stash[_not_run]  # type: ignore[attr-defined]


def pytest_testnodedown(node: WorkerController) -> None:
    """What was not run there is told here; a process that crashed has told nothing."""
    node.config.stash[_not_run].extend(getattr(node, "workeroutput", {}).get("not run", []))
