"""What must be on the disk before money is spent: the checkpoint that holds the decision to call the tool.

Where it is lost in a crash, the model decides anew, under other ids, and the payment of the first decision is unknown to the
second. LangGraph writes checkpoints in the background unless it runs with ``durability="sync"``.
"""

import asyncio
import time
from typing import Any, Final

from langgraph.checkpoint.base import BaseCheckpointSaver

SECONDS: Final = 5.0
"""How long it is waited for."""
_POLL: Final = 0.005
_DURABILITY: Final = "__pregel_durability"
_SAVER: Final = "__pregel_checkpointer"
"""Keys of LangGraph's own in a run's configuration. Where a version has them no more, the checkpointer must be given."""


class NotDurable(RuntimeError):
    """A paid tool was called in a run that would forget in a crash that it paid. Nothing was held, and it did not run."""


class Barrier:
    """Waits until the checkpoint of a call is written.

    Args:
        saver: The checkpointer of the graph; None: the one that the run has.
    """

    def __init__(self, saver: BaseCheckpointSaver[Any] | None = None) -> None:
        self._saver = saver

    def wait(self, runtime: Any) -> None:
        """Until it is written, for synchronous runs. A run without a checkpointer has nothing to be resumed from, and passes.

        Raises:
            NotDurable: it will not be, or was not in time.
        """
        if (found := self._look_for(runtime)) is not None:
            saver, config = found
            until = time.monotonic() + SECONDS
            while saver.get_tuple(config) is None:
                _check(until)
                time.sleep(_POLL)

    async def await_(self, runtime: Any) -> None:
        """As ``wait``, for asynchronous runs."""
        if (found := self._look_for(runtime)) is not None:
            saver, config = found
            until = time.monotonic() + SECONDS
            while await saver.aget_tuple(config) is None:
                _check(until)
                await asyncio.sleep(_POLL)

    def _look_for(self, runtime: Any) -> tuple[BaseCheckpointSaver[Any], Any] | None:
        """Where the checkpoint would be, and which it is."""
        info = getattr(runtime, "execution_info", None)
        if info is None or not info.thread_id or not info.checkpoint_id:
            return None
        configured = (getattr(runtime, "config", None) or {}).get("configurable", {})
        saver = self._saver or configured.get(_SAVER)
        if saver is None:
            if _SAVER in configured:
                return None  # the graph has none
            raise NotDurable(
                "this version of LangGraph does not tell the run's checkpointer: give `checkpointer=`"
            )
        if configured.get(_DURABILITY) == "exit":
            raise NotDurable(
                'paid tools need durability="sync" or "async": with "exit" a crash forgets what was paid'
            )
        place = info.checkpoint_ns.rpartition("|")[0]
        wanted = {"thread_id": info.thread_id, "checkpoint_ns": place, "checkpoint_id": info.checkpoint_id}
        return saver, {"configurable": wanted}


def _check(until: float) -> None:
    if time.monotonic() > until:
        raise NotDurable(f"the checkpoint of the call was not written within {SECONDS:g} s")
