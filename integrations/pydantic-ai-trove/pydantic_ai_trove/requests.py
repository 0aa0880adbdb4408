"""Requests to models, paid from the wallet: what one can cost at most is held before it, what it did cost is captured."""

import warnings
from contextlib import AsyncExitStack
from decimal import Decimal
from uuid import uuid4

from pydantic_ai.messages import ModelResponse

from trove_agents import Step
from trove_agents.guard import AsyncGuard, Guard, Payment, at_rate


class UnpricedModelWarning(UserWarning):
    """Nobody knows what a model costs: what it was used for is not in the wallet."""


class Requests:
    """Payments for requests that are under way in this process."""

    def __init__(self, guard: AsyncGuard | Guard, most: Decimal) -> None:
        self._guard, self.most = guard, most
        self._open: dict[str, tuple[AsyncExitStack, Payment]] = {}

    async def begin(self, step: Step) -> str:
        """Holds the most; what :meth:`end` is told.

        Raises:
            BudgetExceededError: the wallet has less left.
        """
        # Each request is a purchase of its own, whatever it is a repetition of: so is its key
        key = f"model-{uuid4()}"
        paying = AsyncExitStack()
        payment = await paying.enter_async_context(
            self._guard.aauthorize(self.most, key=key, tool="model", step=step, approved=True)
        )
        self._open[key] = paying, payment
        return key

    async def end(self, key: str, cost: Decimal | None, doubt: str | None) -> None:
        """Books what a request did cost.

        Where another process held the money, and died, the request may have been made twice: it stays in doubt.

        Args:
            key: Of its payment.
            cost: At most what was held; None: nothing is paid.
            doubt: Why nobody knows what it did cost.
        """
        if (found := self._open.pop(key, None)) is None:
            return
        paying, payment = found
        async with paying:
            if doubt is not None:
                payment.doubt(doubt)
            elif cost is None:
                payment.void()
            else:
                payment.capture(min(cost, self.most))


def cost_of(response: ModelResponse, most: Decimal) -> Decimal | None:
    """What a response did cost, with those that were rejected before it, rounded up to a micro-dollar; None where nobody
    knows. Warns of each of which nobody does, and of more than the most.
    """
    # Pydantic AI before 2.68 may not say what was rejected
    rejected = [each for each in getattr(response, "failed_attempts", None) or () if each.usage is not None]
    costs = [
        _own(response),
        *(_known(each.usage.cost, each.model_name, "it was rejected") for each in rejected),
    ]
    known = [each for each in costs if each is not None]
    if not known:
        return None
    cost = at_rate(sum(known, Decimal()), 1)
    if cost > most:
        message = f"a request to {response.model_name} cost ${cost}, of which ${most} were held and booked: raise models="
        warnings.warn(message, UnpricedModelWarning, stacklevel=3)
    return cost


def _own(response: ModelResponse) -> Decimal | None:
    cost, why = getattr(response.usage, "cost", None), ""
    if cost is None:
        try:
            cost = response.cost().total_price
        except (AssertionError, LookupError, ValueError) as error:
            why = str(error)
    return _known(cost, response.model_name, why)


def _known(cost: Decimal | None, model: str | None, why: str) -> Decimal | None:
    if cost is None:
        message = f"{model} has no price that is known, and is not paid from the wallet: {why}"
        warnings.warn(message, UnpricedModelWarning, stacklevel=5)
    return cost
