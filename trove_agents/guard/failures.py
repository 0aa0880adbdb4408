"""What the guard raises, beside the errors of the wallet, and what a tool raises to it."""

from trove_agents.errors import Recovery, TroveError
from trove_agents.guard.states import Entry


class NotCharged(Exception):
    """Raised by a tool that knows that nothing was charged: what is held for it is given back.

    Any other exception leaves the payment in doubt.
    """


class AlreadyPaid(TroveError):
    """The payment of this key was made before; ``entry`` has the receipt, and the result where it was kept."""

    code = "already-paid"
    recovery: Recovery = "adapt"

    def __init__(self, entry: Entry) -> None:
        super().__init__(f"the payment {entry.key!r} was made before, and the tool is not run again")
        self.entry = entry


class PaymentInDoubt(TroveError):
    """The payment of this key is under way, or nobody knows how it ended: it is not made again."""

    code = "payment-in-doubt"

    def __init__(self, key: str, why: str) -> None:
        super().__init__(f"the payment {key!r} is not made: {why}")
        self.key = key


class PaymentConflict(TroveError):
    """The key belongs to a payment of another price, tool, vendor or other arguments. Nothing was held."""

    code = "payment-conflict"
    recovery: Recovery = "fix-arguments"
