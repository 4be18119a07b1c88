"""Cursor lists: `{items, next_cursor, total}`. A cursor names the last row seen: inserts do not shift pages."""

import base64
import binascii
import json
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Annotated, Any, Generic, TypeVar
from uuid import UUID

from fastapi import Depends, Query
from pydantic import BaseModel
from sqlalchemy import Select, and_, func, or_, select
from sqlalchemy.ext.asyncio import AsyncSession
from sqlalchemy.orm import InstrumentedAttribute

from platform_kit.contract.problem import Issue, IssueCode
from platform_kit.plumbing.problems import InvalidRequest

T = TypeVar("T")
Sortable = Mapping[str, InstrumentedAttribute[Any]]


class Page(BaseModel, Generic[T]):
    items: list[T]
    next_cursor: str | None
    total: int | None = None


@dataclass(frozen=True)
class PageParams:
    limit: int
    cursor: str | None
    sort: str

    @property
    def descending(self) -> bool:
        return self.sort.startswith("-")

    @property
    def field(self) -> str:
        return self.sort.removeprefix("-")


def page_params(
    limit: Annotated[int, Query(ge=1, le=200)] = 50,
    cursor: Annotated[str | None, Query(description="`next_cursor` of the page before")] = None,
    sort: Annotated[
        str, Query(description="a field; `-` before it: descending", examples=["-created_at"])
    ] = "-created_at",
) -> PageParams:
    return PageParams(limit=limit, cursor=cursor, sort=sort)


PageDep = Annotated[PageParams, Depends(page_params)]


@dataclass(frozen=True)
class Rows(Generic[T]):
    items: list[T]
    next_cursor: str | None
    total: int | None


async def fetch_page(
    session: AsyncSession,
    statement: Select[T],
    params: PageParams,
    *,
    sortable: Sortable,
    id_column: InstrumentedAttribute[UUID],
    most_counted: int | None = None,
) -> Rows[T]:
    """Run `statement` for one page, sorted by one of `sortable` and then by id.

    most_counted: of more rows than that there is no total; 0: there is none. For tables that only grow, where counting
    takes longer with every day.
    """
    column = sortable.get(params.field)
    if column is None:
        raise _bad("sort", params.sort, f"one of: {', '.join(sortable)}, with or without `-`")
    order = (column.desc(), id_column.desc()) if params.descending else (column, id_column)
    page = statement.order_by(*order).limit(params.limit + 1)
    if params.cursor is not None:
        page = page.where(_after(params, column, id_column))
    found = list((await session.scalars(page)).all())
    items = found[: params.limit]
    more = len(found) > params.limit
    is_all = params.cursor is None and not more
    total = len(items) if is_all and most_counted != 0 else await _count(session, statement, most_counted)
    cursor = (
        _encode(params.sort, getattr(items[-1], column.key), getattr(items[-1], id_column.key))
        if more
        else None
    )
    return Rows(items=items, next_cursor=cursor, total=total)


async def _count(session: AsyncSession, statement: Select[Any], most: int | None) -> int | None:
    if most == 0:
        return None
    rows = statement.order_by(None).limit(None if most is None else most + 1).subquery()
    total = await session.scalar(select(func.count()).select_from(rows)) or 0
    return total if most is None or total <= most else None


def _after(
    params: PageParams, column: InstrumentedAttribute[Any], id_column: InstrumentedAttribute[UUID]
) -> Any:
    value, row_id = _decode(params, is_time=column.type.python_type is datetime)
    if params.descending:
        return or_(column < value, and_(column == value, id_column < row_id))
    return or_(column > value, and_(column == value, id_column > row_id))


def _encode(sort: str, value: Any, row_id: UUID) -> str:
    plain = value.isoformat() if isinstance(value, datetime) else value
    return base64.urlsafe_b64encode(json.dumps([sort, plain, str(row_id)]).encode()).decode().rstrip("=")


def _decode(params: PageParams, *, is_time: bool) -> tuple[Any, UUID]:
    text = params.cursor or ""
    try:
        sort, value, row_id = json.loads(base64.urlsafe_b64decode(text + "=" * (-len(text) % 4)))
        if sort != params.sort or not isinstance(value, str | int | float):
            raise ValueError(sort)
        return (datetime.fromisoformat(str(value)) if is_time else value), UUID(row_id)
    except (ValueError, TypeError, AttributeError, RecursionError, binascii.Error):
        raise _bad("cursor", text, "the `next_cursor` of a page with the same `sort`") from None


def _bad(name: str, got: str, expected: str) -> InvalidRequest:
    issue = Issue(
        pointer=f"query:{name}", field=name, code=IssueCode.UNKNOWN_VALUE, got=got[:64], expected=expected
    )
    return InvalidRequest(f"Please mend {name}: it must be {expected}.", errors=[issue])
