"""Which payments were made on the way to which checkpoint.

A payment tells its wallet after which checkpoints it was made, and the guard's journal keeps that. Nothing of it is in the
graph's state, since what became of money is known in the journal alone: a step that failed has written nothing and may have
paid, a payment in doubt ends later, and a branch that writes again what was paid for elsewhere pays nothing.
"""

from collections.abc import Iterable, Mapping
from decimal import Decimal
from typing import Final, NamedTuple

from langchain_core.runnables import RunnableConfig
from langgraph.types import StateSnapshot

from langgraph_trove import inside
from langgraph_trove.runs import thread_name
from trove_agents import Step
from trove_agents.guard import Receipt

_LEVELS: Final = 5
"""Checkpoints that a payment names, the whole graph's first: more have no room in the header of a step."""
_SPENT: Final = frozenset({"captured", "written_off"})


def step_of(config: RunnableConfig, call: str | None, *, run: str | None = None) -> Step:
    """The step of a payment that a running node or tool makes.

    Args:
        config: Of the node.
        call: What is paid for.
        run: The id of the run.
    """
    thread = config.get("configurable", {}).get("thread_id")
    ids = list(inside.checkpoints_around(config).values())[:_LEVELS]
    return Step(
        thread=None if thread is None else thread_name(thread),
        run=run,
        step=" ".join(ids) or None,
        call=call,
    )


class Spending(NamedTuple):
    """The payments of a thread, by checkpoint."""

    made: Mapping[str, list[Receipt]]
    """By the steps that led to it."""
    begun: Mapping[str, list[Receipt]]
    """By steps that begin at it and have led to none yet."""


def spending(states: Iterable[StateSnapshot], receipts: Iterable[Receipt]) -> Spending:
    """Which payments are whose.

    Args:
        states: All checkpoints of the thread, newest first, of the whole graph or of one that is a step of it.
        receipts: Of the thread.
    """
    known: set[str] = set()
    ends: dict[str, tuple[bool, str]] = {}
    for state in states:  # the oldest is the last to say so
        known.add(id_of(state.config))
        if state.parent_config is None:
            continue
        before, loops = id_of(state.parent_config), (state.metadata or {}).get("source") == "loop"
        if loops or before not in ends or not ends[before][0]:
            ends[before] = loops, id_of(state.config)
    made: dict[str, list[Receipt]] = {}
    begun: dict[str, list[Receipt]] = {}
    for receipt in receipts:
        step = receipt.step and receipt.step.step
        for before in known.intersection((step or "").split()):
            if before in ends:
                made.setdefault(ends[before][1], []).append(receipt)
            else:
                begun.setdefault(before, []).append(receipt)
    return Spending(made, begun)


def spent(receipts: Iterable[Receipt]) -> Decimal:
    """USD that they did cost, with what was written off."""
    return sum((each.charged_usd or Decimal(0) for each in receipts if each.state in _SPENT), Decimal(0))


def in_doubt(receipts: Iterable[Receipt]) -> Decimal:
    """USD that those are about of which nobody knows how they ended."""
    return sum((each.held_usd for each in receipts if each.state == "in_doubt"), Decimal(0))


def id_of(config: RunnableConfig) -> str:
    """Which checkpoint a configuration names."""
    found: str = config["configurable"]["checkpoint_id"]
    return found
