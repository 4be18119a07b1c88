"""docs/access.md says what the code does."""

from pathlib import Path

import pytest

from tests.access.page import page

pytestmark = pytest.mark.repository

REPOSITORY = Path(__file__).parents[2]


def test_the_page_is_what_the_code_says() -> None:
    written = (REPOSITORY / "docs" / "access.md").read_text()

    assert written == page(), "write it anew: make access-page"
