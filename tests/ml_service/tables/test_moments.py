from datetime import UTC, datetime, timedelta, timezone

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ml_service.tables.moments import epoch_seconds, iso_text
from platform_kit.contract.inputs import FieldContract, InputContract, RowChecker
from platform_kit.contract.schema import ColumnType

CHECKER = RowChecker(
    InputContract(fields=[FieldContract(name="t", type=ColumnType.DATETIME, nullable=False)])
)


@given(
    st.datetimes(min_value=datetime(1, 1, 2), max_value=datetime(9999, 12, 30)),  # noqa: DTZ001  # zones are drawn apart
    st.none() | st.integers(-720, 720),
    st.sampled_from("T "),
)
def test_agrees_with_the_contracts_checker_and_survives_its_own_text(
    moment: datetime, offset_minutes: int | None, separator: str
) -> None:
    zone = None if offset_minutes is None else timezone(timedelta(minutes=offset_minutes))
    text = moment.replace(tzinfo=zone).isoformat(separator)

    seconds = epoch_seconds(text)

    assert CHECKER.check({"t": text}, pointer=[]).values == [seconds]
    if abs(moment.year - 1970) < 200:
        assert epoch_seconds(iso_text(seconds)) == seconds


def test_midnight_is_a_bare_date() -> None:
    assert iso_text(epoch_seconds("2026-01-31")) == "2026-01-31"
    assert iso_text(epoch_seconds("2026-01-31T00:00:01")) == "2026-01-31T00:00:01Z"


@pytest.mark.parametrize(
    "text", ["20260131", "2026-W05-1", "yesterday", "2026-13-01", "31.01.2026", "2026-01-31x"]
)
def test_other_forms_are_no_moments(text: str) -> None:
    with pytest.raises(ValueError, match=r".+"):
        epoch_seconds(text)


def test_a_time_without_offset_is_utc() -> None:
    assert epoch_seconds("2026-01-31T12:00:00") == datetime(2026, 1, 31, 12, tzinfo=UTC).timestamp()
