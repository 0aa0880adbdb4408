"""Where in its thread a step is: the same when it is run again, from the same checkpoint or from an older one.

LangGraph gives a step that is run again in time travel another checkpoint, another task and another number, since it puts
a copy of the old checkpoint in between. Its place is its number without those copies.
"""

from collections.abc import Generator, Mapping
from dataclasses import dataclass
from typing import Any, Final, TypeAlias

from langchain_core.runnables import RunnableConfig
from langgraph.checkpoint.base import BaseCheckpointSaver, CheckpointTuple

from langgraph_trove import inside

Place: TypeAlias = list[Any]
_COPIES: Final = {"source": "fork"}
_PATH: Final = "langgraph_path"


@dataclass(frozen=True, slots=True)
class _Get:
    """A checkpoint."""

    config: RunnableConfig


@dataclass(frozen=True, slots=True)
class _Copy:
    """One of the copies that time travel has made in a namespace, if there is one."""

    config: RunnableConfig


Asking: TypeAlias = Generator[_Get | _Copy, CheckpointTuple | None, Place]


def task_place(saver: BaseCheckpointSaver[Any] | None, runtime: Any) -> Place:
    """What a running task is known by: the place of its step, in its thread, and what it is there.

    Args:
        saver: Of the run. None: nothing is ever run again but within its task.
        runtime: Of the task, with its ``config`` and ``execution_info``.
    """
    there = None
    if saver is not None:
        around = inside.checkpoints_around(runtime.config)
        there = place(saver, str(runtime.execution_info.thread_id), around)
    return _of_task(runtime, there)


async def atask_place(saver: BaseCheckpointSaver[Any] | None, runtime: Any) -> Place:
    """As ``task_place``."""
    there = None
    if saver is not None:
        around = inside.checkpoints_around(runtime.config)
        there = await aplace(saver, str(runtime.execution_info.thread_id), around)
    return _of_task(runtime, there)


def _of_task(runtime: Any, there: Place | None) -> Place:
    info, metadata = runtime.execution_info, runtime.config["metadata"]
    return [
        *([info.task_id] if there is None else [str(info.thread_id), there]),
        metadata["langgraph_node"],
        [str(part) for part in metadata.get(_PATH, ())],
    ]


def place(saver: BaseCheckpointSaver[Any], thread: str, checkpoints: Mapping[str, str]) -> Place:
    """The place of a step.

    Args:
        saver: Of the run.
        thread: Its id.
        checkpoints: By namespace, the checkpoints that the step and those around it start from. All are written.
    """
    asking = _asking(thread, checkpoints)
    try:
        wanted = next(asking)
        while True:
            if isinstance(wanted, _Get):
                found = saver.get_tuple(wanted.config)
            else:
                found = next(iter(saver.list(wanted.config, filter=_COPIES, limit=1)), None)
            wanted = asking.send(found)
    except StopIteration as done:
        there: Place = done.value
        return there


async def aplace(saver: BaseCheckpointSaver[Any], thread: str, checkpoints: Mapping[str, str]) -> Place:
    """As ``place``."""
    asking = _asking(thread, checkpoints)
    try:
        wanted = next(asking)
        while True:
            if isinstance(wanted, _Get):
                found = await saver.aget_tuple(wanted.config)
            else:
                copies = saver.alist(wanted.config, filter=_COPIES, limit=1)
                found = await anext(copies, None)
            wanted = asking.send(found)
    except StopIteration as done:
        there: Place = done.value
        return there


def _asking(thread: str, checkpoints: Mapping[str, str]) -> Asking:
    found: Place = []
    around: dict[str, CheckpointTuple] = {}
    for namespace, checkpoint in checkpoints.items():
        within: dict[str, Any] = {"thread_id": thread, "checkpoint_ns": namespace}
        saved = yield _Get({"configurable": {**within, "checkpoint_id": checkpoint}})
        assert saved is not None, "it was waited for"
        around[namespace] = saved
        step = saved.metadata["step"]
        # Most threads have none, and need no more than this one look
        if (yield _Copy({"configurable": within})) is not None:
            while saved is not None:
                step -= saved.metadata["source"] == "fork"
                saved = None if saved.parent_config is None else (yield _Get(saved.parent_config))
        found.append([inside.tasks_around(namespace, around), step])
    return found
