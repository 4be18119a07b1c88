"""For all tests: `@pytest.mark.needs("nginx")` marks what cannot be tested without a tool of the system.

Such tests are listed as not run; continuous integration, which installs the tools, fails on that.
"""

import shutil

import pytest

_not_run = pytest.StashKey[list[str]]()


def pytest_configure(config: pytest.Config) -> None:
    config.stash[_not_run] = []


def pytest_runtest_setup(item: pytest.Item) -> None:
    tools = [str(tool) for marker in item.iter_markers("needs") for tool in marker.args]
    absent = [tool for tool in tools if shutil.which(tool) is None]
    if absent:
        item.config.stash[_not_run].append(f"not run: {item.nodeid} needs {', '.join(absent)}")
        pytest.skip(f"needs {', '.join(absent)}")


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter, config: pytest.Config) -> None:
    for line in config.stash[_not_run]:
        terminalreporter.write_line(line, yellow=True)
