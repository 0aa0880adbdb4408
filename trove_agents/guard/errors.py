"""What the guard raises, beside the errors of the wallet, and what a tool raises to it."""

from trove_agents.client.approvals import WalletApproval
from trove_agents.errors import Recovery, TroveError
from trove_agents.guard.states import Receipt


class NotCharged(Exception):
    """Raised by a tool that knows that nothing was charged: what is held for it is given back.

    Any other exception leaves the payment in doubt.
    """


class AlreadyPaid(TroveError):
    """The payment of this key was made before; ``receipt`` says what it did cost, ``result`` what the tool returned.

    ``result`` is its JSON, or None where it was none or too large to be kept.
    """

    code = "already-paid"
    recovery: Recovery = "adapt"

    def __init__(self, receipt: Receipt, result: bytes | None) -> None:
        super().__init__(f"the payment {receipt.key!r} was made before, and the tool is not run again")
        self.receipt = receipt
        self.result = result


class PaymentDenied(TroveError):
    """A policy, a person or a price that makes no sense refused the payment. Nothing was held.

    ``limiting_rule`` says which: ``policy``, ``person`` or ``price``; ``booked``, where a wallet without holds booked less than the price.
    """

    code = "payment-denied"
    recovery: Recovery = "adapt"

    def __init__(self, message: str, limiting_rule: str = "policy") -> None:
        super().__init__(message)
        self.limiting_rule = limiting_rule


class ApprovalNeeded(TroveError):
    """The payment waits for a person's yes, and nothing is held. Made again with the same key, it looks for the answer.

    ``approval`` is the wallet's, where it has approvals: the wallet's owner answers it with ``approve`` or ``deny``. Whoever
    has a person at hand makes the payment again with ``approved=True`` instead, unless the wallet's own limit asks.
    """

    code = "approval-needed"
    recovery: Recovery = "operator"

    def __init__(self, why: str, approval: WalletApproval | None) -> None:
        super().__init__(f"the payment waits for a person's approval: {why}")
        self.approval = approval


class PaymentInDoubt(TroveError):
    """The payment of this key, or the same one under another key, is under way or nobody knows how it ended.

    It is not made again.
    """

    code = "payment-in-doubt"

    def __init__(self, key: str, why: str) -> None:
        super().__init__(f"the payment {key!r} is not made: {why}")
        self.key = key


class PaymentConflict(TroveError):
    """The key belongs to a payment of another price, tool, vendor or other arguments, or to one of another journal.
    Nothing was held.
    """

    code = "payment-conflict"
    recovery: Recovery = "fix-arguments"


class UnsettledWarning(UserWarning):
    """A tool ran, and what it did cost could not be booked: the payment is in doubt until somebody looks at it."""


class DoubleChargeWarning(UserWarning):
    """A wallet without idempotency was charged twice for one payment. The second purchase is credit for later ones."""


class EchoWarning(UserWarning):
    """A wallet did not book a purchase as it was asked for: another amount, or another description."""
