"""The question whether a payment may be made, as an interrupt of the run, and its answer."""

from collections.abc import Mapping
from typing import Any, Final

from langgraph.types import interrupt

from trove_agents.guard import ApprovalNeeded, Payment, PaymentDenied, Price, highest_usd

_ASKED: Final = "its tool waits for somebody; the payment was asked for before"


class Question:
    """Of one payment.

    LangGraph knows the interrupts of a task by their order alone, and runs it again from its start for each answer. So a
    payment that was asked for is asked for again before its tool runs: it has the first answer, and the tool's own questions
    have the others.

    Args:
        asks: Whether the run is stopped; else what needs a yes is refused.
        tool: What is paid for.
        arguments: Of the tool.
        vendor: Who is paid.
        price: What it costs.
    """

    def __init__(
        self,
        *,
        asks: bool,
        tool: str,
        arguments: Mapping[str, Any] | None,
        vendor: str | None,
        price: Price,
    ) -> None:
        self._asks = asks
        self._price = price
        self._said: dict[str, Any] = {
            "type": "payment",
            "tool": tool,
            "arguments": arguments,
            "vendor": vendor,
        }
        self._answered = False
        self.over = False
        """Whether the tool was run: what is raised then is its own."""

    def said(self, needed: ApprovalNeeded) -> dict[str, Any]:
        """For people."""
        approval = needed.approval
        return {
            **self._said,
            "reason": str(needed),
            "approval_id": None if approval is None else approval.id,
            "max_amount_usd": str(highest_usd(self._price, self._said["arguments"])),
        }

    def ask(self, needed: ApprovalNeeded) -> None:
        """Stops the run with it; returns when it was answered with yes.

        Raises:
            ApprovalNeeded: nobody is asked, or it is of another payment, within the tool.
            PaymentDenied: it was answered with anything else.
        """
        if not self._asks or self.over:
            raise needed
        if not _is_yes(interrupt(self.said(needed))):
            raise PaymentDenied("the payment was refused: a person said no to it", "person") from needed
        self._answered = True

    def before_tool(self, payment: Payment) -> None:
        """Takes its answer, if it was asked in an earlier run of the task, so that the tool's first question does not."""
        before = payment.waited == _ASKED or (self._asks and payment.approved)
        if before and not self._answered:
            self._answered = True
            interrupt(self._said)
        self.over = True

    def wait(self, payment: Payment) -> None:
        """The tool has asked something of its own."""
        if self._answered:
            payment.wait(_ASKED)
        else:
            payment.wait()


def _is_yes(answer: object) -> bool:
    """How people and their interfaces say yes to an interrupt: True, "approve", or a dict that says one of them."""
    if isinstance(answer, dict):
        answer = answer.get("approved", answer.get("type"))
    return answer is True or answer == "approve"
