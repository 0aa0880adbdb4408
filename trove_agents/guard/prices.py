"""What a tool costs: fixed, from its arguments, or known after it ran."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from decimal import ROUND_CEILING, Context, Decimal
from typing import Any, Final, TypeAlias

from trove_agents.client.money import Amount, in_micros
from trove_agents.guard.errors import PaymentDenied
from trove_agents.guard.states import as_usd
from trove_agents.wire.money import MICROS

FromArguments: TypeAlias = Callable[[Mapping[str, Any]], Amount]
"""A price from the tool's arguments. 0: this call is free. One that raises, or returns a float, None or NaN, denies."""


@dataclass(frozen=True, slots=True)
class Metered:
    """A price that is known after the tool ran: the most is held, and what it did cost is captured."""

    most: Amount | FromArguments
    cost: Callable[[Any], Amount]
    """From the tool's result. One that fails, or says more than was held, leaves the payment in doubt."""


Price: TypeAlias = Amount | FromArguments | Metered

_CONTEXT: Final = Context(prec=60)


def micros(amount: Amount) -> int:
    """Micro-USD.

    Raises:
        TypeError: the amount is a float, or none.
        ValueError: it is negative or too large, or has more than six decimals.
    """
    return in_micros(amount)


def at_rate(usd_per_unit: Amount, units: int) -> Decimal:
    """What some units cost at a rate of as many decimals as you like, rounded up to one micro-dollar.

    Add up what belongs to one charge first, so that it is rounded once.

    Raises:
        TypeError: the rate is a float, or the units are no int.
        ValueError: one of them is negative or no number, or the price is too large.
    """
    if isinstance(usd_per_unit, float) or type(units) is not int:
        raise TypeError("a rate is a Decimal, an int or a str, and units are counted in an int")
    exact = _CONTEXT.multiply(_CONTEXT.create_decimal(usd_per_unit), Decimal(units))
    if not exact.is_finite() or exact < 0:
        raise ValueError(f"{units} at {usd_per_unit} is no price")
    whole = _CONTEXT.multiply(exact, Decimal(MICROS)).to_integral_value(ROUND_CEILING, _CONTEXT)
    return _CONTEXT.divide(whole, Decimal(MICROS))


def highest(price: Price, arguments: Mapping[str, Any] | None) -> int:
    """Micro-USD that the call can cost at most; 0: it is free.

    Raises:
        PaymentDenied: a function that should say it failed, or said something else.
        TypeError: a fixed price is a float, or none.
        ValueError: a fixed price is no amount.
    """
    if isinstance(price, Metered):
        price = price.most
    if not callable(price):
        return micros(price)
    try:
        return micros(price({} if arguments is None else arguments))
    except Exception as error:
        raise PaymentDenied(f"its price cannot be told: {error!r}", "price") from error


def highest_usd(price: Price, arguments: Mapping[str, Any] | None = None) -> Decimal:
    """The most that a call can cost, in USD. Raises what :func:`highest` does."""
    return as_usd(highest(price, arguments))
