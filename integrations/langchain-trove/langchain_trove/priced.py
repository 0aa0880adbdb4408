"""What tools cost: as the program says it, or as they say it of themselves."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from decimal import Decimal
from typing import Any, Final

from langchain_core.messages import ToolMessage
from langchain_core.tools import BaseTool

from trove_agents.guard import Evidence, Metered, Price, at_rate, highest_usd

PRICE: Final = "price_usd"
VENDOR: Final = "vendor"
META: Final = "_meta"
"""What MCP servers add of their own to what they say."""


@dataclass(frozen=True, slots=True)
class Priced:
    """What a tool costs, and how its failures are read."""

    price: Price
    """USD: an amount, a function of the arguments, or ``Metered``, whose ``cost`` is given the ``ToolMessage``."""
    vendor: str | None = None
    """Who is paid."""
    not_charged: Evidence | None = None
    """Which exceptions prove that nothing was charged, beside ``NotCharged``."""
    reported: Callable[[ToolMessage], bool] | None = None
    """Whether a message of status ``error``, which the tool returned instead of raising, proves that nothing was charged.
    None: such a payment is in doubt, unless ``mcp_costs`` heard what it did cost."""


def priced(price: Price | Priced, vendor: str | None = None) -> Priced:
    """What a program says that a tool costs.

    Raises:
        TypeError: a fixed price is a float, or no amount at all.
        ValueError: a fixed price is no amount that can be paid.
    """
    terms = price if isinstance(price, Priced) else Priced(price, vendor)
    if not callable(most := terms.price.most if isinstance(terms.price, Metered) else terms.price):
        highest_usd(most)
    return terms


def of_itself(tool: BaseTool) -> Priced | None:
    """What a tool says that it costs, in its metadata; None: nothing.

    ``price_usd`` there, and ``vendor``, are its maker's word, and may be any price. An MCP server says them in the tool's
    ``_meta``, or in its annotations, which langchain-mcp-adapters puts beside it, as text or as a number. One that cannot be read
    denies each call.
    """
    metadata = tool.metadata or {}
    said = metadata if metadata.get(PRICE) is not None else _meta(metadata)
    price, vendor = said.get(PRICE), said.get(VENDOR)
    if price is None or isinstance(price, Priced):
        return price
    if not isinstance(price, Metered | Decimal) and not callable(price):
        price = _price(price)
    return Priced(price, vendor if isinstance(vendor, str) else None)


def stated_usd(said: object) -> Decimal:
    """USD that a server states as text or as a number, rounded up to a micro-dollar.

    Raises:
        ValueError: it is no amount.
    """
    if isinstance(said, bool) or not isinstance(said, str | int | float):
        raise ValueError(f"{said!r} is no amount of money")  # noqa: TRY004 - somebody else's, and so no bug
    try:
        return highest_usd(at_rate(str(said), 1))
    except ArithmeticError as error:
        raise ValueError(f"{said!r} is no amount of money") from error


def _price(said: object) -> Price:
    def unreadable(_: Mapping[str, Any]) -> Decimal:
        return stated_usd(said)

    try:
        return stated_usd(said)
    except ValueError:
        return unreadable


def _meta(metadata: Mapping[str, Any]) -> Mapping[str, Any]:
    """The ``_meta`` of an MCP tool, where langchain-mcp-adapters puts it, or ``langchain.mcp``."""
    found: Any = metadata.get(META)
    if found is None:
        found = metadata
        for name in ("mcp", "tool", META):
            found = found.get(name) if isinstance(found, Mapping) else None
    return found if isinstance(found, Mapping) else {}
