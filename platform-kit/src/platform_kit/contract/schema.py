"""Columns of a dataset: their types, and what the data taught about them."""

from enum import StrEnum

from pydantic import Field

from platform_kit.contract.base import Readable


class ColumnType(StrEnum):
    INTEGER = "integer"
    DECIMAL = "decimal"
    BOOLEAN = "boolean"
    STRING = "string"
    DATETIME = "datetime"

    @property
    def is_numeric(self) -> bool:
        return self in (ColumnType.INTEGER, ColumnType.DECIMAL)


class FileType(StrEnum):
    CSV = "csv"
    JSON = "json"
    PARQUET = "parquet"


class Column(Readable):
    """Name, type and nullability: one entry of a dataset's `schema`."""

    name: str
    type: ColumnType
    nullable: bool


class CategoryCount(Readable):
    value: str | bool
    count: int


class ColumnStatistics(Readable):
    """What one column holds. Moments and quantiles are over the values that are present."""

    type: ColumnType
    count: int = Field(description="values that are present")
    missing: int
    distinct: int
    minimum: float | str | None = None
    maximum: float | str | None = None
    mean: float | None = None
    standard_deviation: float | None = None
    quantiles: list[float] | None = Field(
        default=None, description="21 numbers: the quantiles 0, 0.05, ... 1 (numeric columns)"
    )
    categories: list[CategoryCount] | None = Field(
        default=None, description="most frequent first, at most MAX_CATEGORIES (string and boolean columns)"
    )
    categories_complete: bool | None = Field(
        default=None, description="whether `categories` names every value"
    )


class DatasetStatistics(Readable):
    row_count: int
    columns: dict[str, ColumnStatistics]


MAX_CATEGORIES = 1000
"""A string column with more distinct values than this is open: any text is a known category."""
