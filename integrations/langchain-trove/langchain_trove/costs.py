"""What MCP servers say that calls did cost. Tools that are made of theirs do not pass it on, so it is heard on the way."""

from collections.abc import Awaitable, Callable
from contextvars import ContextVar, Token
from decimal import Decimal
from typing import Any, Final, Self, TypeVar

from langchain_trove.priced import stated_usd
from trove_agents.guard import Metered, Price

R = TypeVar("R")

COST: Final = "cost_usd"
"""In the ``_meta`` of a result."""


async def mcp_costs(request: Any, handler: Callable[[Any], Awaitable[R]]) -> R:
    """Hears what servers say that paid calls did cost: an interceptor for the clients of langchain-mcp-adapters.

    ::

        client = MultiServerMCPClient(servers, tool_interceptors=[mcp_costs])

    A server says it as ``cost_usd`` in the ``_meta`` of a result, as text or as a number; of one that is an error, too: 0 gives
    the money back. It is captured where the price is no ``Metered`` of the program's own. More than the price was, or what is
    no amount, leaves the payment in doubt, with no more held than the price. What is tried several times costs what all
    attempts did, and the price where one of them does not say it.
    """
    heard = _HEARD.get()
    if heard is None or not heard.is_of(request):
        return await handler(request)
    attempt = heard.attempt()
    result = await handler(request)
    heard.says(attempt, (getattr(result, "meta", None) or {}).get(COST))
    return result


class Heard:
    """What was said of the cost of one call; it is listened to within the block.

    Args:
        tool: The name of what is called.
    """

    def __init__(self, tool: str) -> None:
        self._tool = tool
        self._said: list[Any] = []
        self._before: Token[Heard | None] | None = None

    def __enter__(self) -> Self:
        self._before = _HEARD.set(self)
        return self

    def __exit__(self, *_: object) -> None:
        assert self._before is not None, "it was entered"
        _HEARD.reset(self._before)

    def is_of(self, request: Any) -> bool:
        """Whether a request to a server is this call, and not one that its tool makes."""
        return self._tool in (request.name, f"{request.server_name}_{request.name}")

    def attempt(self) -> int:
        """Begins an attempt, of which nothing is known yet."""
        self._said.append(None)
        return len(self._said) - 1

    def says(self, attempt: int, cost: Any) -> None:
        """What a server says that an attempt did cost; None: nothing."""
        self._said[attempt] = cost

    def metered(self, price: Price) -> Metered | None:
        """The price as it was found out; None: it is not known to be less, or the program finds it out itself."""
        if isinstance(price, Metered) or not self._said or None in self._said:
            return None
        return Metered(price, lambda _: sum(map(stated_usd, self._said), Decimal(0)))


_HEARD: Final[ContextVar[Heard | None]] = ContextVar("heard", default=None)
