"""The question whether a payment may be made, as an interrupt of the run, and its answer."""

import re
from collections.abc import Mapping
from decimal import Decimal
from typing import Any, Final

from langchain_core.runnables import RunnableConfig
from langgraph.checkpoint.base import BaseCheckpointSaver
from langgraph.types import interrupt

from langgraph_trove import inside
from trove_agents.guard import ApprovalNeeded, Payment, PaymentDenied, Price, highest_usd

_ASKED: Final = "its tool waits for somebody; the payment was asked for before"
_TIMES: Final = re.compile(rf"{_ASKED}(?:, (\d+) times)?")
_MOST: Final = "max_amount_usd"
_BEFORE: Final = "shown_before_usd"
"""In a question that is asked once more: the prices that were shown before, to which people said yes."""
_TASK: Final = "__trove_task"
_ANSWERS: Final = "answers"
_KEPT: Final = "kept"


class Question:
    """Of one payment.

    LangGraph knows the interrupts of a task by their order alone, and runs it again from its start for each answer. So a
    payment that was asked for is asked for again before its tool runs: it has the first answer, and the tool's own questions
    have the others. A yes is for the price that was shown: where a later version of the program wants more it is asked once
    more, and the payment has the first two. What was answered and paid takes its answers again in the next run of the task, so
    that what the task itself asks next does not have them. And only the first payment of a task asks.

    Args:
        config: Of the running task.
        key: Of the payment.
        asks: Whether the run is stopped; else what needs a yes is refused.
        tool: What is paid for.
        arguments: Of the tool.
        vendor: Who is paid.
        price: What it costs.
    """

    def __init__(
        self,
        config: RunnableConfig,
        key: str,
        *,
        asks: bool,
        tool: str,
        arguments: Mapping[str, Any] | None,
        vendor: str | None,
        price: Price,
    ) -> None:
        self.asks = inside.is_first(config, key) and asks
        """Whether the run is stopped with it."""
        self._config = config
        self._price = price
        self._said: dict[str, Any] = {
            "type": "payment",
            "tool": tool,
            "arguments": arguments,
            "vendor": vendor,
        }
        self._answers = 0
        self.over = False
        """Whether the tool was run: what is raised then is its own."""

    def said(self, needed: ApprovalNeeded) -> dict[str, Any]:
        """For people."""
        approval = needed.approval
        return {
            **self._said,
            "reason": str(needed),
            "approval_id": None if approval is None else approval.id,
            _MOST: str(highest_usd(self._price, self._said["arguments"])),
        }

    def ask(self, needed: ApprovalNeeded, last: Any) -> None:
        """Stops the run with it; returns when it was answered with yes.

        Args:
            needed: Why.
            last: What the task has asked last: see ``last_asked``.

        Raises:
            ApprovalNeeded: nobody is asked; or it is of another payment, within the tool, or after one in the same task.
            PaymentDenied: it was answered with anything else.
        """
        if not self.asks or self.over:
            raise needed
        said = self.said(needed)
        shown = self._shown(last)
        answer = self._answer(said)
        for number in range(1, len(shown)):
            answer = self._answer({**said, _BEFORE: shown[:number]})
        if shown and _is_yes(answer) and Decimal(shown[-1]) < Decimal(said[_MOST]):
            answer = self._answer({**said, _BEFORE: shown})
        if not _is_yes(answer):
            raise PaymentDenied("the payment was refused: a person said no to it", "person") from needed

    def before_tool(self, payment: Payment) -> None:
        """Takes its answer, if it was asked in an earlier run of the task, so that the tool's first question does not."""
        if not self._answers:
            for _ in range(_times(payment.waited) or int(self.asks and payment.approved)):
                self._answer(self._said)
        self.over = True

    def noted(self, result: Any) -> Any:
        """What is kept of a result, as JSON: if people were asked, with how often, and in which task."""
        if not self._answers:
            return result
        return {_TASK: inside.task_of(self._config), _ANSWERS: self._answers, _KEPT: result}

    def passed(self, kept: Any) -> Any:
        """The result of what was paid for before. If that was in this task, the answers are taken again."""
        if not isinstance(kept, dict) or _TASK not in kept:
            return kept
        if self.asks and kept[_TASK] == inside.task_of(self._config) and inside.takes(self._config):
            for _ in range(kept[_ANSWERS]):
                interrupt(self._said)
        return kept[_KEPT]

    def wait(self, payment: Payment) -> None:
        """The tool has asked something of its own."""
        if not self._answers:
            payment.wait()
            return
        payment.wait(_ASKED if self._answers == 1 else f"{_ASKED}, {self._answers} times")

    def _answer(self, said: dict[str, Any]) -> Any:
        answer = interrupt(said)
        self._answers += 1
        inside.takes(self._config)
        return answer

    def _shown(self, last: Any) -> list[str]:
        """The prices that people were shown for it, the last of them last."""
        if not isinstance(last, dict) or any(last.get(name) != self._said[name] for name in ("type", "tool")):
            return []
        return [*last.get(_BEFORE, ()), last[_MOST]] if _MOST in last else []


def last_asked(saver: BaseCheckpointSaver[Any] | None, config: RunnableConfig) -> Any:
    """What the running task has asked people last; None: nothing, or nobody knows."""
    if saver is None:
        return None
    return inside.asked_last(saver.get_tuple(inside.checkpoint_of(config)), inside.task_of(config))


async def alast_asked(saver: BaseCheckpointSaver[Any] | None, config: RunnableConfig) -> Any:
    """As ``last_asked``."""
    if saver is None:
        return None
    return inside.asked_last(await saver.aget_tuple(inside.checkpoint_of(config)), inside.task_of(config))


def _times(waited: str | None) -> int:
    """How often a payment was asked for before its tool waited."""
    found = _TIMES.fullmatch(waited or "")
    return 0 if found is None else int(found[1] or 1)


def _is_yes(answer: object) -> bool:
    """How people and their interfaces say yes to an interrupt: True, "approve", or a dict that says one of them."""
    if isinstance(answer, dict):
        answer = answer.get("approved", answer.get("type"))
    return answer is True or answer == "approve"
