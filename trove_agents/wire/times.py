"""Timestamps on the wire: ISO 8601, UTC, always six fractional digits, so that text sorts as time does."""

from datetime import UTC, datetime, timedelta
from functools import lru_cache

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_FIRST, _LAST = (
    -62135596800_000000,
    253402300799_999999,
)  # the years 1 and 9999: all that ISO 8601 text can hold


def from_micros(micros: int) -> str:
    """``2026-05-07T20:00:00.000000Z`` for microseconds since the epoch; what lies past year 9999 is shown as its end."""
    seconds, fraction = divmod(min(max(micros, _FIRST), _LAST), 1_000_000)
    return f"{_second(seconds)}.{fraction:06}Z"


def whole_second(micros: int) -> str:
    """``2026-05-07T20:00:00Z``: as ``from_micros`` without the fraction."""
    return f"{_second(min(max(micros, _FIRST), _LAST) // 1_000_000)}Z"


@lru_cache(maxsize=1024)
def _second(seconds: int) -> str:
    """A second as text: a listing has many times and few seconds."""
    moment = _EPOCH + timedelta(seconds=seconds)
    return moment.isoformat()[:-6]


def to_micros(text: str) -> int:
    """Microseconds since the epoch of an ISO 8601 text with any offset; without one it is UTC.

    Raises:
        ValueError: the text is no timestamp.
    """
    moment = datetime.fromisoformat(text)
    if moment.tzinfo is None:
        moment = moment.replace(tzinfo=UTC)
    return (moment - _EPOCH) // timedelta(microseconds=1)
