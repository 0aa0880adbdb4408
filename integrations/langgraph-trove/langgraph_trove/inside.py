"""What is known here of LangGraph's inside, all in one place: names that it does not document, tested on each version.

The rest of this package uses its documented surface.
"""

import copy
from binascii import unhexlify
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any, Final, TypeVar
from weakref import WeakKeyDictionary

from langchain_core.callbacks import BaseCallbackHandler, BaseCallbackManager
from langchain_core.runnables import RunnableConfig
from langgraph._internal._config import ensure_config
from langgraph._internal._constants import (
    CONFIG_KEY_CHECKPOINT_MAP,
    CONFIG_KEY_CHECKPOINTER,
    CONFIG_KEY_DURABILITY,
    CONFIG_KEY_RUNTIME,
    CONFIG_KEY_SCRATCHPAD,
    CONFIG_KEY_SEND,
    CONFIG_KEY_TASK_ID,
    INTERRUPT,
    NS_END,
    NS_SEP,
    NULL_TASK_ID,
    PULL,
    PUSH,
    TASKS,
)
from langgraph._internal._runnable import RunnableCallable
from langgraph.channels import BinaryOperatorAggregate
from langgraph.checkpoint.base import BaseCheckpointSaver, CheckpointTuple
from langgraph.constants import START
from langgraph.errors import ParentCommand
from langgraph.pregel import Pregel
from langgraph.pregel._algo import _xxhash_str
from langgraph.pregel._read import PregelNode
from langgraph.types import Command

from langgraph_trove.state import CHANNEL, WorkspaceRef, later

RUN: Final = "__trove_run"
"""In ``configurable``, what the nodes of a run find it by. LangGraph keeps names that begin so out of metadata."""
_FIRST: Final[WeakKeyDictionary[Callable[..., Any], str]] = WeakKeyDictionary()
"""By a function that each running task has of its own: what in it may ask."""
_TAKEN: Final[WeakKeyDictionary[Callable[..., Any], object]] = WeakKeyDictionary()
"""By the same: the counter of interrupts, which each attempt has of its own, of the last that took the answers of a payment."""
G = TypeVar("G", bound=Pregel[Any, Any, Any, Any])


def merged(graph: Pregel[Any, Any, Any, Any], config: RunnableConfig | None) -> RunnableConfig:
    """The configuration that a run gets: of the graph, of the caller, and of the node that the call is made in."""
    return ensure_config(graph.config, config)


def with_run(config: RunnableConfig | None, run: object) -> RunnableConfig:
    """The caller's configuration, with the run for its nodes."""
    given: RunnableConfig = config or {}
    return {**given, "configurable": {**given.get("configurable", {}), RUN: run}}


def with_handler(config: RunnableConfig, handler: BaseCallbackHandler) -> RunnableConfig:
    """A configuration whose run, and the graphs in it, tell a handler too."""
    given = config.get("callbacks")
    if isinstance(given, BaseCallbackManager):
        manager = given.copy()
        manager.add_handler(handler)
        return {**config, "callbacks": manager}
    return {**config, "callbacks": [*(given or ()), handler]}


def run_of(config: RunnableConfig) -> object:
    """The run that a node belongs to; None: of no bound graph."""
    return config.get("configurable", {}).get(RUN)


def nested(config: RunnableConfig) -> bool:
    """Whether a graph runs as a step of another."""
    return CONFIG_KEY_TASK_ID in config["configurable"]


def task_of(config: RunnableConfig) -> str:
    """The running task: the same in all attempts at it."""
    task: str = config["configurable"][CONFIG_KEY_TASK_ID]
    return task


def checkpoint_of(config: RunnableConfig) -> RunnableConfig:
    """The checkpoint that the running task comes after, of the graph that it is in."""
    found = config["configurable"]
    namespace = found.get("checkpoint_ns", "").rpartition(NS_SEP)[0]
    checkpoint = checkpoints_around(config).get(namespace) or found.get("checkpoint_id")
    return {
        "configurable": {
            "thread_id": found["thread_id"],
            "checkpoint_ns": namespace,
            "checkpoint_id": checkpoint,
        }
    }


def asked_last(saved: CheckpointTuple | None, task: str) -> Any:
    """What a task has asked people last, answered or not; None: nothing that is known.

    Args:
        saved: The checkpoint that it comes after.
        task: Its id.
    """
    writes = (saved and saved.pending_writes) or ()
    for by, channel, interrupts in reversed(writes):
        if by == task and channel == INTERRUPT and interrupts:
            return interrupts[-1].value
    return None


def sent_here(sent: ParentCommand, config: RunnableConfig) -> "Command[Any] | None":
    """What a graph that the running task calls has told the graph of that task to do; None: it has told another."""
    command: Command[Any] = sent.args[0]
    return replace(command, graph=None) if command.graph == config["configurable"]["checkpoint_ns"] else None


def was_sent(config: RunnableConfig) -> bool:
    """Whether the running task was sent to with something of its own, and not begun by an edge."""
    path = config.get("metadata", {}).get("langgraph_path") or ("",)
    return bool(path[0] == PUSH)


def attempt_of(config: RunnableConfig) -> object:
    """The attempt at the running task: equal as long as it runs, and never to that of another."""
    given = config["configurable"]
    info = getattr(given.get(CONFIG_KEY_RUNTIME), "execution_info", None)
    return given[CONFIG_KEY_SEND], getattr(info, "node_attempt", None)


def superstep_of(config: RunnableConfig) -> str:
    """The checkpoint that the running task, or the one of the whole graph that it is inside of, comes after."""
    return checkpoints_around(config).get("", "")


def path_of(config: RunnableConfig) -> list[str]:
    """The running task, and before it those that it is inside of, from the outermost on."""
    return names_in(config["configurable"].get("checkpoint_ns", ""))


def names_in(namespace: str) -> list[str]:
    """What a namespace says of tasks: their ids; of a graph that keeps its checkpoints over its runs, its node's name."""
    parts = (part.partition(NS_END) for part in namespace.split(NS_SEP) if part and not part.isdigit())
    return [task or name for name, _, task in parts]


def joined(parts: Sequence[str]) -> str:
    """A namespace of its parts."""
    return NS_SEP.join(parts)


def called(namespace: str, number: int) -> str:
    """The namespace of one of the graphs that a node calls, which are counted from 0."""
    return f"{namespace}{NS_SEP}{number}" if number else namespace


def saver_of(graph: Pregel[Any, Any, Any, Any], config: RunnableConfig) -> BaseCheckpointSaver[Any] | None:
    """The saver that a run uses: the graph's own, or one that its surroundings lend it."""
    found = config["configurable"].get(CONFIG_KEY_CHECKPOINTER, graph.checkpointer)
    return found if isinstance(found, BaseCheckpointSaver) else None


def lent_saver(config: RunnableConfig) -> BaseCheckpointSaver[Any] | None:
    """The saver that a running node's graph stores with."""
    found = config.get("configurable", {}).get(CONFIG_KEY_CHECKPOINTER)
    return found if isinstance(found, BaseCheckpointSaver) else None


def checkpoints_around(config: RunnableConfig) -> dict[str, str]:
    """By namespace, the checkpoints that a running node and the graphs around it start from."""
    return dict(config.get("configurable", {}).get(CONFIG_KEY_CHECKPOINT_MAP) or {})


def tasks_around(namespace: str, saved: Mapping[str, CheckpointTuple]) -> list[Any]:
    """The tasks that a graph runs within, from the outermost on, named alike in time travel, where their ids are others.

    Args:
        namespace: Of the graph.
        saved: By namespace, the checkpoints that these tasks started from.
    """
    parts = namespace.split(NS_SEP) if namespace else []
    return [
        _task(NS_SEP.join(parts[:number]), part, saved.get(NS_SEP.join(parts[:number])))
        for number, part in enumerate(parts)
    ]


def _task(within: str, part: str, saved: CheckpointTuple | None) -> Any:
    """The name of a task's node; with its number, where the node was sent to, which it may be more than once at a time.

    LangGraph makes the id of a task of these. One that is made otherwise keeps its id, so that it is not taken for another.
    """
    name, _, task = part.partition(NS_END)
    if not task or saved is None:
        return part
    at, step = unhexlify(saved.checkpoint["id"].replace("-", "")), str(saved.metadata["step"] + 1)
    node = f"{within}{NS_SEP}{name}" if within else name

    def made_of(*parts: str) -> bool:
        return task == _xxhash_str(at, node, step, name, *parts)

    for number, _ in enumerate(saved.checkpoint["channel_values"].get(TASKS, ())):
        if made_of(PUSH, str(number)):
            return [name, number]
    joins = [
        channel
        for channel in saved.checkpoint["channel_versions"]
        if channel.startswith("join:") and channel.endswith(f":{name}")
    ]
    return name if made_of(PULL, *sorted([f"branch:to:{name}", *joins])) or made_of(PULL, START) else part


def stored_at_exit(config: RunnableConfig) -> bool:
    """Whether a running node's graph stores nothing before it ends."""
    return config.get("configurable", {}).get(CONFIG_KEY_DURABILITY) == "exit"


def is_first(config: RunnableConfig, key: str) -> bool:
    """Whether nothing else in the running task was here before, in this run of it."""
    scratchpad = config.get("configurable", {}).get(CONFIG_KEY_SCRATCHPAD)
    return scratchpad is None or _FIRST.setdefault(scratchpad.get_null_resume, key) == key


def takes(config: RunnableConfig) -> bool:
    """Whether the answers of a payment are taken for the first time in the running attempt: asked later, they were."""
    scratchpad = config["configurable"][CONFIG_KEY_SCRATCHPAD]
    before = _TAKEN.get(scratchpad.get_null_resume)
    _TAKEN[scratchpad.get_null_resume] = scratchpad.interrupt_counter
    return before is not scratchpad.interrupt_counter


def root(config: RunnableConfig) -> RunnableConfig:
    """Which checkpoint a run loads: one that was addressed, of the graph itself or as what a subgraph's goes with, or
    the newest of the thread.
    """
    given = config["configurable"]
    place = {"thread_id": str(given["thread_id"]), "checkpoint_ns": ""}
    at = given.get(CONFIG_KEY_CHECKPOINT_MAP, {}).get("") if _below(config) else given.get("checkpoint_id")
    return {"configurable": {**place, "checkpoint_id": at} if at else place}


def addressed_below(config: RunnableConfig) -> RunnableConfig | None:
    """The checkpoint of a subgraph that was addressed."""
    given, names = config["configurable"], ("checkpoint_ns", "checkpoint_id")
    if not _below(config) or not given.get("checkpoint_id"):
        return None
    return {"configurable": {"thread_id": str(given["thread_id"]), **{name: given[name] for name in names}}}


def _below(config: RunnableConfig) -> bool:
    return bool(config["configurable"].get("checkpoint_ns"))


def stored(saved: CheckpointTuple, *, pending: bool) -> WorkspaceRef | None:
    """The reference that a run starts from: the checkpoint's, what was written onto it from outside, and, if the run
    takes them over, what its finished tasks wrote.
    """
    ref: WorkspaceRef | None = saved.checkpoint["channel_values"].get(CHANNEL)
    for task, channel, value in saved.pending_writes or ():
        if channel == CHANNEL and (pending or task == NULL_TASK_ID):
            ref = later(ref, value)
    return ref


def finished(saved: CheckpointTuple) -> Iterator[tuple[str, WorkspaceRef]]:
    """The references that tasks after a checkpoint wrote, with the ids of these tasks."""
    for task, channel, value in saved.pending_writes or ():
        if channel == CHANNEL and task != NULL_TASK_ID:
            yield task, value


def at_checkpoint(config: RunnableConfig | None, saved: CheckpointTuple) -> RunnableConfig:
    """The configuration of a run that begins at a checkpoint, and does all that comes after it again."""
    given: RunnableConfig = config or {}
    names = ("thread_id", "checkpoint_ns", "checkpoint_id")
    place = {name: saved.config["configurable"][name] for name in names}
    return {**given, "configurable": {**given.get("configurable", {}), **place}}


def functions(runnable: object) -> Iterator[object]:
    """What a node calls: itself, the function it was made from, or those of its steps."""
    yield runnable
    for step in getattr(runnable, "steps", ()):
        yield from functions(step)
    for name in ("func", "afunc"):
        if (function := getattr(runnable, name, None)) is not None:
            yield function


def write(config: RunnableConfig, ref: WorkspaceRef) -> None:
    """Adds the reference to what the running task writes: it is stored, or lost, with the task's result."""
    config["configurable"][CONFIG_KEY_SEND]([(CHANNEL, ref)])


def with_channel(graph: G) -> G:
    """A graph of the functional API with the channel, which has no state to declare it in."""
    other = copy.copy(graph)
    other.channels = {**graph.channels, CHANNEL: BinaryOperatorAggregate(dict, later)}
    return other


def turned(graph: G, kind: type[G]) -> G:
    """The same graph, of another kind."""
    other = copy.copy(graph)
    other.__class__ = kind
    return other


def ending(graph: G, last: Callable[[Any, RunnableConfig], Any]) -> G:
    """A graph whose nodes, and those of graphs that are its nodes, call a function with their result before it is written."""
    return _ending(graph, RunnableCallable(last, name=last.__name__, trace=False, recurse=False))


def _ending(graph: G, last: RunnableCallable) -> G:
    other = copy.copy(graph)
    other.nodes = {
        name: node
        if name == START
        else node.copy({"writers": [last, *node.writers], **_ending_below(node, last)})
        for name, node in graph.nodes.items()
    }
    return other


def _ending_below(node: PregelNode, last: RunnableCallable) -> dict[str, Any]:
    if not isinstance(node.bound, Pregel):
        return {}
    below = _ending(node.bound, last)
    return {"bound": below, "subgraphs": [below for _ in node.subgraphs]}


def nodes_in(graph: Pregel[Any, Any, Any, Any]) -> Iterator[tuple[str, ...]]:
    """The names of a graph's nodes that run each time, each after those of the nodes that it is inside of."""
    for name, node in graph.nodes.items():
        if node.cache_policy or graph.cache_policy:
            continue
        yield (name,)
        if isinstance(node.bound, Pregel):
            yield from ((name, *each) for each in nodes_in(node.bound))


def node_in(config: RunnableConfig) -> tuple[str, ...]:
    """The running node, named so: one name for each task of ``path_of``."""
    parts = config["configurable"].get("checkpoint_ns", "").split(NS_SEP)
    return tuple(part.partition(NS_END)[0] for part in parts if part and not part.isdigit())


def taking(graph: G) -> G:
    """A graph, for one run, whose input may have a reference beside what it is by itself."""
    other = copy.copy(graph)
    assert isinstance(graph.input_channels, str)
    other.input_channels = [graph.input_channels, CHANNEL]
    return other


def with_reference(graph: Pregel[Any, Any, Any, Any], given: Any, ref: WorkspaceRef, *, fresh: bool) -> Any:
    """The input that starts a run with a reference; that of a fresh one is for a graph that is ``taking`` it."""
    if fresh:
        return {graph.input_channels: given, CHANNEL: ref}
    if given is None:
        return Command(update={CHANNEL: ref})
    return updating(given, ref)


def updating(command: "Command[Any]", ref: WorkspaceRef) -> "Command[Any]":
    """A command that sets the reference too."""
    update = {} if command.update is None else command.update
    if isinstance(update, Mapping):
        return replace(command, update={**update, CHANNEL: ref})
    return replace(command, update=[*command._update_as_tuples(), (CHANNEL, ref)])  # noqa: SLF001 - see the module
