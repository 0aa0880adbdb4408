"""What a model is told about money: short, with the numbers it can act on."""

from collections.abc import Sequence
from typing import Final

from trove_agents.client.money import dollars
from trove_agents.client.wallets import WalletBalance
from trove_agents.errors import BudgetExceededError, TroveError
from trove_agents.guard.errors import (
    AlreadyPaid,
    ApprovalNeeded,
    PaymentConflict,
    PaymentDenied,
    PaymentInDoubt,
)
from trove_agents.guard.prices import Metered, Price, micros
from trove_agents.guard.states import as_usd

NOT_KEPT: Final = (
    "This call was paid for before and its result was not kept; files that it wrote may be missing."
    " It is not run or paid again: go on without it."
)
_SHOWN: Final = 10


def refusal(error: TroveError) -> str:
    """Why a paid tool did not run, for the model that called it."""
    if isinstance(error, BudgetExceededError):
        return _over(error)
    if isinstance(error, ApprovalNeeded):
        return f"Not run, nothing was charged: {error}. Go on with something else, or wait for the answer and call it again."
    if isinstance(error, PaymentDenied):
        return f"Not run, nothing was charged: {error}. Do not call it again with these arguments."
    if isinstance(error, PaymentInDoubt):
        return (
            f"Not run: {error}. It may have been charged, so do not try it again; go on without its result."
        )
    if isinstance(error, AlreadyPaid):
        return NOT_KEPT
    if isinstance(error, PaymentConflict):
        return f"Not run, nothing was charged: {error}."
    return f"Not run: the wallet did not answer as it should ({error}). Nothing is known to have been charged; try again later."


def files_missing(paths: Sequence[str]) -> str:
    """Beside a result of before: which files that belong to it are not as it left them; no paths: nobody knows."""
    again = "This call was paid for before. It was not run or paid again, and its result is what it returned then."
    if not paths:
        return f"{again} Whether it changed files is not known any more: some may be missing."
    more = [f"{len(paths) - _SHOWN} more"] if len(paths) > _SHOWN else []
    which = ", ".join([*paths[:_SHOWN], *more])
    return f"{again} What it changed is missing in these files, since not all of it can be made again beside what was changed since: {which}."


def budget(balance: WalletBalance) -> str:
    """What is left of a budget, in a line."""
    parts = [f"{dollars(balance.remaining_budget)} of {dollars(balance.budget_usd)} remain"]
    if balance.held_usd:
        parts.append(f"{dollars(balance.held_usd)} are held for calls that are under way")
    if balance.in_doubt_usd:
        parts.append(f"{dollars(balance.in_doubt_usd)} are in doubt")
    return f"Budget for paid tools: {', '.join(parts)}."


def price_tag(price: Price) -> str:
    """What a call costs, for the description of a tool."""
    if isinstance(price, Metered):
        most = price.most
        return (
            "Its cost is metered."
            if callable(most)
            else f"Costs at most {dollars(as_usd(micros(most)))} a call."
        )
    if callable(price):
        return "Its price depends on the arguments."
    return f"Costs {dollars(as_usd(micros(price)))} a call." if micros(price) else "Free."


def _over(error: BudgetExceededError) -> str:
    numbers = ""
    if error.requested_usd is not None and error.remaining_usd is not None:
        numbers = f" It needs {dollars(error.requested_usd)}, and {dollars(error.remaining_usd)} remain."
    rule = error.limiting_rule
    why = (
        "the budget does not allow it"
        if rule in (None, "budget")
        else f"a limit of the wallet ({rule}) does not allow it"
    )
    return f"Not run, nothing was charged: {why}.{numbers} Take a cheaper way, or finish without it."
