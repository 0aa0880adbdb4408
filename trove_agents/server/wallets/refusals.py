"""What the wallets refuse beside what every room does, with the facts that a program can act on."""

from typing import ClassVar

from trove_agents.server.errors import Conflict, PaymentRequired, Unprocessable
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


class AgentTaken(Conflict):
    """The key has a wallet for that agent."""

    code: ClassVar[str] = "wallet-exists"

    def __init__(self, wallet_id: int) -> None:
        super().__init__(f"there is a wallet for this agent: {wallet_id}")
        self.wallet_id = wallet_id


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
