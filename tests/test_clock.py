"""The one clock, and the one way to read what a person writes."""

from datetime import UTC, datetime, timedelta

import pytest

from gateway_project import clock

MIDNIGHT = datetime(2026, 11, 20, tzinfo=UTC)


@pytest.mark.parametrize("text", ["2026-11-20", "20261120", "2026-W47-5"])
def test_a_date_alone_means_its_first_or_its_last_moment(text: str) -> None:
    assert clock.parse_moment(text, end_of_day=False) == MIDNIGHT
    assert clock.parse_moment(text, end_of_day=True) == MIDNIGHT + timedelta(days=1, microseconds=-1)


@pytest.mark.parametrize("end_of_day", [True, False])
@pytest.mark.parametrize(
    ("text", "moment"),
    [
        ("2026-11-20T00:00", MIDNIGHT),
        ("2026-11-20 14:03:22.12", datetime(2026, 11, 20, 14, 3, 22, 120000, tzinfo=UTC)),
        ("20261120T140322Z", datetime(2026, 11, 20, 14, 3, 22, tzinfo=UTC)),
        ("2026-11-20T01:00:00+02:00", datetime(2026, 11, 19, 23, tzinfo=UTC)),
    ],
)
def test_a_time_is_meant_as_it_is_written(text: str, moment: datetime, end_of_day: bool) -> None:
    assert clock.parse_moment(text, end_of_day=end_of_day) == moment


@pytest.mark.parametrize(
    "text", ["soon", "", "2026-13-01", "2026-02-30", "20.11.2026", "2026-11-20T25:00", "0001-01-01T00:00+01:00"]
)
def test_what_is_neither_is_told(text: str) -> None:
    with pytest.raises(ValueError, match="is no date or time in ISO 8601"):
        clock.parse_moment(text, end_of_day=False)


def test_now_is_aware_and_in_utc() -> None:
    assert clock.now().utcoffset() == timedelta(0)
