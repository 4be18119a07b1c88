from datetime import UTC, datetime

import pytest
from pydantic import TypeAdapter, ValidationError

from platform_kit.contract.moments import Moment

MOMENT: TypeAdapter[datetime] = TypeAdapter(Moment)


class TestMoment:
    @pytest.mark.parametrize(
        "text", ["2026-11-01T13:30:00+01:30", "2026-11-01T12:00:00Z", "2026-11-01 12:00:00Z"]
    )
    def test_is_read_as_the_same_moment_in_utc(self, text: str) -> None:
        found = MOMENT.validate_python(text)

        assert (found, found.tzinfo) == (datetime(2026, 11, 1, 12, tzinfo=UTC), UTC)

    @pytest.mark.parametrize("number", [0, 0.5, True, "0", "0.5", "1e9", "-1", "1793534400"])
    def test_is_no_number_of_seconds(self, number: object) -> None:
        with pytest.raises(ValidationError):
            MOMENT.validate_python(number)

    @pytest.mark.parametrize("text", ["2026-11-01T12:00:00", "2026-11-01"])
    def test_has_a_time_zone(self, text: str) -> None:
        with pytest.raises(ValidationError):
            MOMENT.validate_python(text)

    @pytest.mark.parametrize("text", ["0001-01-01T00:00:00+14:00", "9999-12-31T23:59:59-14:00"])
    def test_is_within_the_years_that_can_be_kept(self, text: str) -> None:
        with pytest.raises(ValidationError):
            MOMENT.validate_python(text)
