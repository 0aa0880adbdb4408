"""What the wallets refuse beside what every room does, with the facts that a program can act on."""

from typing import ClassVar

from trove_agents.server.errors import Conflict, Gone, PaymentRequired, Unprocessable
from trove_agents.server.wallets.tallies import About
from trove_agents.wire.money import Usd, from_micros
from trove_agents.wire.money import to_micros as _to_micros


class InsufficientFunds(PaymentRequired):
    """A payment is over what a wallet, or an ancestor of its, has left."""

    def __init__(self, requested: int, remaining: int, *, rule: str = "budget") -> None:
        super().__init__(
            f"insufficient funds: {_shown(requested)} USD were asked for and {_shown(remaining)} remain"
        )
        self.requested = requested
        self.remaining = remaining
        self.rule = rule


class LimitReached(InsufficientFunds):
    """A payment is over a limit of a wallet's, or of an ancestor's."""

    code: ClassVar[str] = "limit-exceeded"

    def __init__(self, requested: int, remaining: int, *, rule: str, wallet_id: int, about: About) -> None:
        super().__init__(requested, remaining, rule=rule)
        self.detail = (
            f"the limit {rule} of wallet {wallet_id}: {_shown(requested)} USD were asked for and "
            f"{_shown(remaining)} remain under it"
        )
        self.wallet_id = wallet_id
        self.about = about


class AgentTaken(Conflict):
    """The key has a wallet for that agent."""

    code: ClassVar[str] = "wallet-exists"

    def __init__(self, wallet_id: int) -> None:
        super().__init__(f"there is a wallet for this agent: {wallet_id}")
        self.wallet_id = wallet_id


class HoldClosed(Conflict):
    """A hold has ended, or is not in the state that the call is for."""

    def __init__(self, detail: str, code: str) -> None:
        super().__init__(detail)
        self.reason = code

    @property
    def code(self) -> str:  # type: ignore[override]
        """One for each state."""
        return self.reason


class HoldExpired(Gone):
    """A hold ran out, and what it held was given back."""

    code: ClassVar[str] = "hold-expired"


class OverCapture(Unprocessable):
    """More than a hold holds."""

    code: ClassVar[str] = "over-capture"

    def __init__(self, requested: int, held: int) -> None:
        super().__init__(f"{_shown(requested)} USD are more than the {_shown(held)} that are held")
        self.requested = requested
        self.remaining = held


class OverRefund(Unprocessable):
    """More than is left of a transaction."""

    code: ClassVar[str] = "over-refund"

    def __init__(self, requested: int, left: int) -> None:
        super().__init__(f"{_shown(requested)} USD are more than the {_shown(left)} that can be given back")
        self.requested = requested
        self.remaining = left


class ApprovalUnfit(Conflict):
    """An approval is not what a payment, or an answer to it, needs."""

    code: ClassVar[str] = "approval-unfit"


class BudgetTooLow(Unprocessable):
    """A budget would be below what was spent, is held or is in doubt."""

    code: ClassVar[str] = "budget-too-low"


def invalid(field: str, message: str) -> Unprocessable:
    """A field that says what it may not."""
    return Unprocessable(f"{field}: {message}", errors=[{"field": field, "message": message}])


def amount(field: str, value: Usd) -> int:
    """Micro-USD of a field, 0 included.

    Raises:
        Unprocessable: it is no amount.
    """
    try:
        return _to_micros(value)
    except ValueError as error:
        raise invalid(field, str(error)) from None


def positive(field: str, value: Usd) -> int:
    """Micro-USD of a field. Raises as ``amount``, and for 0."""
    if (micros := amount(field, value)) == 0:
        raise invalid(field, "an amount is more than 0")
    return micros


def _shown(micros: int) -> str:
    return bytes(from_micros(micros)).decode()
