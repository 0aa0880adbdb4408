"""Amounts in text: exact, or refused, whatever the decimal context of the thread."""

import decimal

import msgspec
import pytest

from trove_agents.wire.money import to_micros


@pytest.mark.parametrize(
    "text", [b"1.0000001", b"1.00000000000000000000000000000001", b"123456789.0000000000000000000000000001"]
)
@pytest.mark.parametrize("digits", [3, 28])
def test_nothing_is_rounded(text, digits):
    with decimal.localcontext(decimal.Context(prec=digits)), pytest.raises(ValueError, match="rounded"):
        to_micros(msgspec.Raw(text))


def test_a_coarse_context_changes_no_amount():
    with decimal.localcontext(decimal.Context(prec=3)):
        assert to_micros(msgspec.Raw(b"123456789.123456")) == 123_456_789_123_456
        assert to_micros(msgspec.Raw(b"1.000000000000000000000000000000000000")) == 1_000_000
