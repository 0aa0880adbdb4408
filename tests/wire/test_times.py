from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from trove_agents.wire import times

FIRST, LAST = times.to_micros("0001-01-01T00:00:00Z"), times.to_micros("9999-12-31T23:59:59.999999Z")


@pytest.mark.parametrize(
    ("micros", "text"),
    [
        (0, "1970-01-01T00:00:00.000000Z"),
        (1_778_184_000_000_001, "2026-05-07T20:00:00.000001Z"),
        (-1, "1969-12-31T23:59:59.999999Z"),
        (LAST + 1, "9999-12-31T23:59:59.999999Z"),
        (FIRST - 1, "0001-01-01T00:00:00.000000Z"),
    ],
)
def test_the_width_is_fixed(micros: int, text: str) -> None:
    assert times.from_micros(micros) == text


@given(st.integers(FIRST, LAST))
def test_moments_come_back(micros: int) -> None:
    assert times.to_micros(times.from_micros(micros)) == micros


@given(st.integers(FIRST, LAST), st.integers(FIRST, LAST))
def test_text_sorts_as_time_does(a: int, b: int) -> None:
    assert (times.from_micros(a) < times.from_micros(b)) is (a < b)


@pytest.mark.parametrize(
    "text",
    [
        "2026-05-07T20:00:00Z",
        "2026-05-07T22:00:00+02:00",
        "2026-05-07T20:00:00",
        "2026-05-07 20:00:00.000000",
        "20260507T200000Z",
    ],
)
def test_any_iso_8601_is_read(text: str) -> None:
    moment = datetime(2026, 5, 7, 20, tzinfo=UTC)
    assert times.to_micros(text) == round(moment.timestamp() * 1_000_000)


@pytest.mark.parametrize("text", ["", "yesterday", "2026-13-01", "20:00"])
def test_what_is_no_time_is_refused(text: str) -> None:
    with pytest.raises(ValueError):
        times.to_micros(text)
