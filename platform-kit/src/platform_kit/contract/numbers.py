"""Whole numbers that have a place to be kept: larger ones would be refused where nothing tells the caller why."""

from typing import Annotated

from pydantic import Field

LARGEST_INTEGER = 2**31 - 1
LARGEST_BIG_INTEGER = 2**63 - 1

VersionNumber = Annotated[int, Field(ge=1, le=LARGEST_INTEGER)]
VersionNumberInJson = Annotated[VersionNumber, Field(strict=True)]
"""Neither text nor truth is a number there; an address is all text."""
