"""Money: integer micro-USD inside, JSON numbers in USD on the wire, and never a float between them."""

import re
from decimal import Context, Decimal, Inexact, InvalidOperation
from typing import Annotated, Final

import msgspec

MICROS: Final = 1_000_000
"""Of one USD."""
MOST: Final = 999_999_999_999_999
"""The largest amount, $999,999,999.999999. Up to it also readers that use doubles get the micro-dollar right."""
_NUMBER: Final = re.compile(rb"(-?(?:0|[1-9][0-9]*))(?:\.([0-9]+))?(?:[eE]([+-]?[0-9]+))?")
_EXPONENT: Final = 20
_DIGITS: Final = 40
_EXACT: Final = Context(prec=_DIGITS + _EXPONENT, traps=[Inexact, InvalidOperation])
"""The caller's own context may have few digits, and round."""

Usd = Annotated[
    msgspec.Raw,
    msgspec.Meta(
        description="USD, at most six decimals",
        extra_json_schema={"type": "number", "minimum": 0, "maximum": 999_999_999.999999},
    ),
]
"""A JSON number as its text."""


def from_micros(micros: int) -> msgspec.Raw:
    """Micro-USD as a JSON number: ``5``, ``0.25``."""
    whole, part = divmod(abs(micros), MICROS)
    text = f"{'-' if micros < 0 else ''}{whole}"
    return msgspec.Raw((f"{text}.{part:06}".rstrip("0") if part else text).encode())


def to_micros(text: msgspec.Raw) -> int:
    """Micro-USD of a JSON number; nothing is rounded.

    Raises:
        ValueError: it is no number, is negative or too large, or has more than six decimals that say something.
    """
    raw = bytes(text).strip()
    if (found := _NUMBER.fullmatch(raw)) is None:
        raise ValueError("an amount is a number in USD")
    exponent = int(found[3] or 0) if len(found[3] or b"") < _DIGITS else _DIGITS
    if len(raw) > _DIGITS or abs(exponent) > _EXPONENT:
        raise ValueError("an amount in USD is written with fewer digits")
    micros = _EXACT.multiply(Decimal(raw.decode()), Decimal(MICROS))
    if micros < 0:
        raise ValueError("an amount is not negative")
    if micros != micros.to_integral_value():
        raise ValueError("an amount has at most 6 decimals; nothing is rounded")
    if micros > MOST:
        raise ValueError("an amount is at most 999,999,999.999999")
    return int(micros)
