"""Models that are paid from the wallet: what an agent's own thinking costs, on the same budget as its tools."""

import warnings
from collections.abc import Awaitable, Callable
from decimal import Decimal
from typing import Any
from uuid import uuid4

from langchain.agents.middleware import AgentMiddleware, ModelRequest, ModelResponse
from langchain_core.messages import AIMessage
from langgraph.config import get_config

from langgraph_trove.spending import step_of
from trove_agents.guard import AsyncGuard, Guard, Payment, at_rate, turned_away


class UnpricedModelWarning(UserWarning):
    """A request to a model is not in the wallet, or not all of it: nobody knows its price, or it was more than was held."""


class ModelSpendMiddleware(AgentMiddleware):
    """Pays for the requests of an agent to its model: the most that one can cost is held, and what it did cost is captured.

    Each request is a purchase of its own, also one that is made again: the provider charges it again. With less left than
    one may cost the run ends with ``BudgetExceededError``. One that timed out or was cancelled is in doubt, and so is one of which
    ``price`` fails.

    Args:
        guard: Whose wallet pays; for asynchronous agents too, which then use it in threads.
        async_guard: For asynchronous agents.
        most: USD that one request can cost.
        price: From a message to USD; None: nobody knows. By default what genai-prices says for the model and its usage.

    Raises:
        TypeError: there is no guard.
        ImportError: there is no ``price``, and genai-prices is not installed.
    """

    def __init__(
        self,
        guard: Guard | None = None,
        *,
        async_guard: AsyncGuard | None = None,
        most: Decimal | int | str,
        price: Callable[[AIMessage], Decimal | None] | None = None,
    ) -> None:
        super().__init__()
        if (beside_a_loop := async_guard or guard) is None:
            raise TypeError("a Guard is needed, an AsyncGuard, or both")
        self._guard = guard
        self._async_guard = beside_a_loop
        self._most = Decimal(most)
        self._price = _listed() if price is None else price

    def wrap_model_call(
        self, request: ModelRequest[Any], handler: Callable[[ModelRequest[Any]], ModelResponse[Any]]
    ) -> ModelResponse[Any]:
        """Pays for a request."""
        if self._guard is None:
            raise TypeError("there is only an AsyncGuard: use ainvoke, or add a Guard")
        with self._guard.authorize(self._most, **_named(request)) as payment:
            response = handler(request)
            self._book(payment, response)
        return response

    async def awrap_model_call(
        self,
        request: ModelRequest[Any],
        handler: Callable[[ModelRequest[Any]], Awaitable[ModelResponse[Any]]],
    ) -> ModelResponse[Any]:
        """As ``wrap_model_call``."""
        async with self._async_guard.aauthorize(self._most, **_named(request)) as payment:
            response = await handler(request)
            self._book(payment, response)
        return response

    def _book(self, payment: Payment, response: ModelResponse[Any]) -> None:
        messages = [message for message in response.result if isinstance(message, AIMessage)]
        try:
            costs = [self._price(message) for message in messages]
            known = at_rate(sum((cost for cost in costs if cost is not None), Decimal(0)), 1)
        except Exception as error:  # noqa: BLE001 (the answer is paid for, and the agent's)
            payment.doubt(f"its cost cannot be told: {error!r}")
            return
        payment.capture(min(known, self._most))
        names = ", ".join(sorted({str(each.response_metadata.get("model_name")) for each in messages}))
        if None in costs:
            message = f"{names} has no price that is known, and is not paid from the wallet"
            warnings.warn(message, UnpricedModelWarning, stacklevel=3)
        elif known > self._most:
            message = f"a request to {names} cost ${known}, of which ${self._most} were held and booked: raise most="
            warnings.warn(message, UnpricedModelWarning, stacklevel=3)


def _named(request: ModelRequest[Any]) -> dict[str, Any]:
    info = getattr(request.runtime, "execution_info", None)
    return {
        "key": f"model-{uuid4()}",
        "tool": "model",
        "step": step_of(get_config(), None, run=getattr(info, "run_id", None)),
        "not_charged": turned_away,
        "approved": True,
    }


def _listed() -> Callable[[AIMessage], Decimal | None]:
    """Prices of genai-prices."""
    try:
        from genai_prices import Usage, calc_price
    except ModuleNotFoundError as error:
        raise ImportError(
            "prices of models: pip install 'langchain-trove[models]', or give price="
        ) from error

    def price(message: AIMessage) -> Decimal | None:
        usage, about = message.usage_metadata, message.response_metadata
        name = about.get("model_name") or about.get("model")
        if usage is None or not name:
            return None
        details = usage.get("input_token_details", {})
        used = Usage(
            input_tokens=usage["input_tokens"],
            output_tokens=usage["output_tokens"],
            cache_read_tokens=details.get("cache_read"),
            cache_write_tokens=details.get("cache_creation"),
        )
        try:
            found: Decimal = calc_price(used, str(name), provider_id=about.get("model_provider")).total_price
        except (LookupError, ValueError):
            return None
        return found

    return price
