"""The landing page: it needs nothing from elsewhere, obeys its content policy, and its parts fit together."""

import re
from html.parser import HTMLParser
from pathlib import Path

import pytest

pytestmark = pytest.mark.repository

FRONTEND = Path(__file__).parents[2] / "frontend"
LARGEST_BYTES = 25_000
HERE = {"localhost", "127.0.0.1"}
ROUTES = {"/docs", "/ml/docs", "/health/ready", "/ml/health/ready"}
"""What nginx passes on to the services: no files."""

ADDRESS = re.compile(r"(?:\b[a-z]+:)?//([\w.-]+\.[a-z]{2,}|\d+(?:\.\d+){3}|localhost)", re.IGNORECASE)
NAMESPACE = 'xmlns="http://www.w3.org/2000/svg"'
UNSAFE = ("innerHTML", "outerHTML", "insertAdjacentHTML", "document.write", "eval(", "Function(", '"style"')


class Page(HTMLParser):
    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str]]] = []
        self.inline: list[str] = []
        self._inside = ""
        self.feed(text)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self._inside = tag
        self.tags.append((tag, {name: value or "" for name, value in attrs}))

    def handle_endtag(self, tag: str) -> None:
        self._inside = ""

    def handle_data(self, data: str) -> None:
        if self._inside in ("script", "style") and data.strip():
            self.inline.append(data)

    def values(self, *names: str) -> list[str]:
        return [each[name] for _, each in self.tags for name in names if name in each]


@pytest.fixture(scope="module")
def page() -> Page:
    return Page((FRONTEND / "index.html").read_text())


@pytest.fixture(scope="module")
def script() -> str:
    return (FRONTEND / "assets" / "status.js").read_text()


def test_it_is_small() -> None:
    assert sum(path.stat().st_size for path in FRONTEND.rglob("*") if path.is_file()) < LARGEST_BYTES


@pytest.mark.parametrize("pattern", ["*.html", "*.css", "*.js", "*.svg"])
def test_it_names_no_other_host(pattern: str) -> None:
    files = list(FRONTEND.rglob(pattern))
    assert files

    hosts = {host for path in files for host in ADDRESS.findall(path.read_text().replace(NAMESPACE, ""))}

    assert hosts <= HERE


def test_nothing_is_inline(page: Page) -> None:
    handlers = [name for _, each in page.tags for name in each if name == "style" or name.startswith("on")]

    assert not page.inline
    assert not handlers
    assert "style" not in [tag for tag, _ in page.tags]
    assert not [each for each in page.values("href", "src") if each.startswith(("javascript:", "data:"))]


def test_what_is_asked_becomes_text_and_never_markup(script: str) -> None:
    assert not [each for each in UNSAFE if each in script]


def test_it_asks_its_own_origin_only(script: str) -> None:
    asked = re.findall(r"\bask\([\"`]([^\"`]*)[\"`]", script)

    assert asked
    assert not [each for each in asked if not each.startswith(("/health", "/ml/", "${base}/"))]
    assert script.count("fetch(") == 1


def test_ids_are_there_once(page: Page, script: str) -> None:
    ids = page.values("id")
    wanted = re.findall(r"byId\(\"([^\"]+)\"\)", script) + page.values("for", "aria-labelledby")
    wanted += [each[1:] for each in page.values("href") if each.startswith("#")]

    assert wanted
    assert len(ids) == len(set(ids))
    assert set(wanted) <= set(ids)


def test_classes_and_attributes_that_the_script_looks_for_are_there(page: Page, script: str) -> None:
    classes = {name for each in page.values("class") for name in each.split()}
    attributes = {name for _, each in page.tags for name in each}
    tags = {tag for tag, _ in page.tags}
    wanted = re.findall(r"querySelector(?:All)?\(\"([.\[]?)([\w-]+)]?\"\)", script)

    assert wanted
    assert not [name for kind, name in wanted if name not in {".": classes, "[": attributes, "": tags}[kind]]


def test_local_files_that_are_named_exist(page: Page) -> None:
    named = [each for each in page.values("href", "src") if not each.startswith(("#", "http:"))]
    style = (FRONTEND / "assets" / "style.css").read_text()
    named += [f"assets/{each}" for each in re.findall(r"url\([\"']?([^\"')]+)", style)]

    files = [each for each in named if each not in ROUTES]
    assert len(files) >= 3
    assert not [each for each in files if not (FRONTEND / each).is_file()]


def test_it_speaks_to_readers_without_a_script_and_with_a_screen_reader(page: Page) -> None:
    tags = [tag for tag, _ in page.tags]

    assert {"noscript", "main", "h1"} <= set(tags)
    assert ("html", {"lang": "en"}) in page.tags
    assert page.values("role").count("status") == 2
    assert tags.count("label") == tags.count("input")
