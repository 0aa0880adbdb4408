"""Amounts of money from callers: exact, or refused."""

from decimal import Context, Decimal, InvalidOperation
from functools import reduce
from typing import Final, TypeAlias

import msgspec

from trove_agents.wire.money import from_micros, to_micros

Amount: TypeAlias = Decimal | int | str
"""USD, at most six decimals: ``Decimal("0.25")``, ``5``, ``"0.25"``. No float: it is never exactly what was meant."""

_CONTEXT: Final = Context(prec=60)


def usd(amount: Amount) -> msgspec.Raw:
    """An amount as a JSON number. Raises what :func:`in_micros` does."""
    return from_micros(in_micros(amount))


def in_micros(amount: Amount) -> int:
    """An amount in micro-USD.

    Raises:
        TypeError: a float, or something else that is no amount.
        ValueError: it is negative or too large, or has more than six decimals: nothing is rounded.
    """
    if isinstance(amount, bool) or not isinstance(amount, Decimal | int | str):
        hint = f": write Decimal('{amount}') or '{amount}'" if isinstance(amount, float) else ""
        raise TypeError(
            f"an amount of money is a Decimal, an int or a str, not {type(amount).__name__}{hint}"
        )
    try:
        exact = Decimal(amount)
    except InvalidOperation:
        raise ValueError(f"{amount!r} is no amount of money") from None
    return to_micros(msgspec.Raw(str(exact).encode()))


def dollars(amount: Decimal) -> str:
    """For people and models: ``$0.30``; with more decimals where it has more."""
    decimals = max(2, -int(_CONTEXT.normalize(amount).as_tuple().exponent))
    return f"${amount:,.{decimals}f}"


def total(*amounts: Decimal) -> Decimal:
    """Their sum in USD, whatever the caller's decimal context, to the micro-dollar: other servers count in floats."""
    exact = reduce(_CONTEXT.add, amounts, Decimal(0))
    micros = int(_CONTEXT.to_integral_value(_CONTEXT.scaleb(exact, 6)))
    return Decimal(bytes(from_micros(micros)).decode())
