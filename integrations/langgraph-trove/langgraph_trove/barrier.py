"""What must be on the disk before money is spent: the checkpoint that holds the decision to call the tool.

Where it is lost in a crash, the model decides anew, under other ids, and the payment of the first decision is unknown to the
second. LangGraph writes checkpoints in the background unless it runs with ``durability="sync"``.
"""

import asyncio
import time
from typing import Any, Final, cast

from langchain_core.runnables import RunnableConfig
from langgraph.checkpoint.base import BaseCheckpointSaver

from langgraph_trove import inside

SECONDS: Final = 5.0
"""How long it is waited for."""
_POLL: Final = 0.005


class NotDurable(RuntimeError):
    """A paid tool was called in a run that would forget in a crash that it paid. Nothing was held, and it did not run."""


class Barrier:
    """Waits until the checkpoints that a call starts from are written.

    Args:
        saver: The checkpointer of the graph; None: the one that the run has.
    """

    def __init__(self, saver: BaseCheckpointSaver[Any] | None = None) -> None:
        self._saver = saver

    def wait(self, runtime: Any) -> BaseCheckpointSaver[Any] | None:
        """Until they are written, for synchronous runs. Returned is what wrote them; a run without a checkpointer has nothing
        to be resumed from, and passes with None.

        Raises:
            NotDurable: they will not be, or were not in time.
        """
        if (saver := self._saver_of(runtime)) is not None:
            until = time.monotonic() + SECONDS
            for config in _checkpoints(runtime):
                while saver.get_tuple(config) is None:
                    _check(until)
                    time.sleep(_POLL)
        return saver

    async def await_(self, runtime: Any) -> BaseCheckpointSaver[Any] | None:
        """As ``wait``, for asynchronous runs."""
        if (saver := self._saver_of(runtime)) is not None:
            until = time.monotonic() + SECONDS
            for config in _checkpoints(runtime):
                while await saver.aget_tuple(config) is None:
                    _check(until)
                    await asyncio.sleep(_POLL)
        return saver

    def _saver_of(self, runtime: Any) -> BaseCheckpointSaver[Any] | None:
        """What stores the run's checkpoints; None: nothing does.

        Raises:
            NotDurable: it does so only at the end.
        """
        info = getattr(runtime, "execution_info", None)
        if info is None or info.thread_id is None or not info.checkpoint_id:
            return None
        config = _config(runtime)
        saver = self._saver or inside.lent_saver(config)
        if saver is not None and inside.stored_at_exit(config):
            raise NotDurable(
                'paid tools need durability="sync" or "async": with "exit" a crash forgets what was paid'
            )
        return saver


def _checkpoints(runtime: Any) -> list[RunnableConfig]:
    info = runtime.execution_info
    around = inside.checkpoints_around(_config(runtime)) or {
        info.checkpoint_ns.rpartition("|")[0]: info.checkpoint_id
    }
    thread = str(info.thread_id)  # so it is stored, whatever it is
    return [
        {"configurable": {"thread_id": thread, "checkpoint_ns": place, "checkpoint_id": checkpoint}}
        for place, checkpoint in around.items()
    ]


def _config(runtime: Any) -> RunnableConfig:
    return cast("RunnableConfig", getattr(runtime, "config", None) or {})


def _check(until: float) -> None:
    if time.monotonic() > until:
        raise NotDurable(f"the checkpoint of the call was not written within {SECONDS:g} s")
