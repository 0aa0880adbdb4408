"""Looking at the files of a graph's past, which leaves those of the present alone."""

from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass
from typing import Any

from langchain_core.runnables import RunnableConfig
from langgraph.pregel import Pregel
from langgraph.types import StateSnapshot

from langgraph_trove import flows, inside
from langgraph_trove.bind import binding_of
from langgraph_trove.errors import NoReference, UnknownReference
from langgraph_trove.flows import Ask, Clients, Flow, read
from langgraph_trove.state import CHANNEL, WorkspaceRef
from trove_agents import AsyncTroveClient, Difference, FileInfo, ListResult, TroveClient, TroveNotFoundError

Graph = Pregel[Any, Any, Any, Any]


@dataclass(frozen=True, slots=True)
class StepFiles:
    """One checkpoint, and what became of the files on the way to it."""

    state: StateSnapshot
    """LangGraph's own: ``state.config`` leads back to it, ``state.next`` is what would run."""
    ref: WorkspaceRef | None
    """What it goes with; None for a checkpoint from before the graph was bound."""
    files: list[Difference]
    """What differs from the checkpoint before it. Nothing where a branch begins in a fork: it begins as it was."""


@dataclass(frozen=True, slots=True)
class FilesAt:
    """The files that a checkpoint goes with. For all else that a client can do: ``client`` and ``at``."""

    client: TroveClient
    at: str
    """The reference, which the client's methods that read take as ``at``, and ``diff``, ``fork`` and ``restore_to``."""

    def list_dir(self, path: str = ".", *, recursive: bool = False) -> ListResult:
        """See :meth:`TroveClient.list_dir`."""
        return self.client.list_dir(path, recursive=recursive, at=self.at)

    def iter_dir(self, path: str = ".", *, recursive: bool = False) -> Iterator[FileInfo]:
        """See :meth:`TroveClient.iter_dir`."""
        return self.client.iter_dir(path, recursive=recursive, at=self.at)

    def read_text(self, path: str) -> str:
        """See :meth:`TroveClient.read_text`."""
        return self.client.read_text(path, at=self.at)

    def read_bytes(self, path: str) -> bytes:
        """See :meth:`TroveClient.read_bytes`."""
        return self.client.read_bytes(path, at=self.at)


@dataclass(frozen=True, slots=True)
class AsyncFilesAt:
    """As ``FilesAt``."""

    client: AsyncTroveClient
    at: str

    async def list_dir(self, path: str = ".", *, recursive: bool = False) -> ListResult:
        """See :meth:`TroveClient.list_dir`."""
        return await self.client.list_dir(path, recursive=recursive, at=self.at)

    def iter_dir(self, path: str = ".", *, recursive: bool = False) -> AsyncIterator[FileInfo]:
        """See :meth:`TroveClient.iter_dir`."""
        return self.client.iter_dir(path, recursive=recursive, at=self.at)

    async def read_text(self, path: str) -> str:
        """See :meth:`TroveClient.read_text`."""
        return await self.client.read_text(path, at=self.at)

    async def read_bytes(self, path: str) -> bytes:
        """See :meth:`TroveClient.read_bytes`."""
        return await self.client.read_bytes(path, at=self.at)


def history(app: Graph, config: RunnableConfig, *, branch: bool = False) -> Iterator[StepFiles]:
    """The checkpoints of a thread, newest first, each with what changed in the files on the way to it.

    Args:
        app: A bound graph.
        config: Names the thread.
        branch: Only the checkpoints that led to the one that ``config`` names, or to the last; not other branches.

    Raises:
        UnknownReference: a checkpoint's reference is gone.
    """
    past: _Past = flows.run(_past(app, config, branch=branch))
    for state in past.states:
        yield flows.run(past.step(state))


async def ahistory(app: Graph, config: RunnableConfig, *, branch: bool = False) -> AsyncIterator[StepFiles]:
    """As :func:`history`."""
    past: _Past = await flows.arun(_past(app, config, branch=branch))
    for state in past.states:
        yield await flows.arun(past.step(state))


def files_at(app: Graph, config: RunnableConfig) -> FilesAt:
    """The files of a checkpoint: the one that ``config`` names, or the thread's last. Not those of the moment.

    Raises:
        NoReference: the checkpoint says nothing of the workspace, or there is none.
    """
    clients, ref = flows.run(_at(app, config))
    return FilesAt(clients.needed(), ref["reference"])


async def afiles_at(app: Graph, config: RunnableConfig) -> AsyncFilesAt:
    """As :func:`files_at`."""
    clients, ref = await flows.arun(_at(app, config))
    return AsyncFilesAt(clients.aneeded(), ref["reference"])


def workspace_of(app: Graph, config: RunnableConfig) -> TroveClient:
    """A client of the workspace that a thread works in now: the one that was bound, or a fork of it.

    Raises:
        NoReference: as for ``files_at``.
    """
    return flows.run(_at(app, config))[0].needed()


async def aworkspace_of(app: Graph, config: RunnableConfig) -> AsyncTroveClient:
    """As :func:`workspace_of`."""
    return (await flows.arun(_at(app, config)))[0].aneeded()


@dataclass(frozen=True)
class _Past:
    clients: Clients
    states: list[StateSnapshot]
    refs: dict[str, WorkspaceRef | None]
    """By checkpoint."""

    def step(self, state: StateSnapshot) -> Flow[StepFiles]:
        ref, before = self.refs[_id(state.config)], None
        if state.parent_config is not None:
            before = self.refs.get(_id(state.parent_config))
        files: list[Difference] = []
        if ref and before and ref["namespace"] == before["namespace"] and ref["version"] != before["version"]:
            clients, a, b = self.clients.elsewhere(ref["namespace"]), before["reference"], ref["reference"]
            try:
                files = yield Ask(clients, lambda client: client.diff(a, b))
            except TroveNotFoundError as error:
                raise UnknownReference(
                    f"'{a}' or '{b}' of the workspace '{ref['namespace']}' is gone"
                ) from error
        return StepFiles(state, ref, files)


def _past(app: Graph, config: RunnableConfig, *, branch: bool) -> Flow[_Past]:
    thread = {"configurable": {"thread_id": config["configurable"]["thread_id"]}} if branch else config
    states: list[StateSnapshot] = yield read(app, "get_state_history", thread)
    if branch:
        states = _branch(states, config["configurable"].get("checkpoint_id"))
    refs = {}
    for state in states:
        refs[_id(state.config)] = yield from _ref(app, state)
    return _Past(binding_of(app).clients, states, refs)


def _branch(states: list[StateSnapshot], end: str | None) -> list[StateSnapshot]:
    """Those that led to a checkpoint, or to the last; newest first, as they are given."""
    found, wanted = [], end
    for state in states:
        if wanted in (None, _id(state.config)):
            found.append(state)
            if state.parent_config is None:
                break
            wanted = _id(state.parent_config)
    return found


def _at(app: Graph, config: RunnableConfig) -> Flow[tuple[Clients, WorkspaceRef]]:
    clients = binding_of(app).clients
    state: StateSnapshot = yield read(app, "get_state", config)
    ref = yield from _ref(app, state)
    if ref is None:
        raise NoReference("there is no such checkpoint, or it says nothing of a workspace")
    return clients.elsewhere(ref["namespace"]), ref


def _ref(app: Graph, state: StateSnapshot) -> Flow[WorkspaceRef | None]:
    if isinstance(state.values, dict) and CHANNEL in state.values:
        found: WorkspaceRef = state.values[CHANNEL]
        return found
    if "checkpoint_id" not in state.config["configurable"]:
        return None
    # What the functional API shows of a state is its result alone
    saver = inside.saver_of(app, inside.merged(app, state.config))
    saved = yield read(saver, "get_tuple", state.config)
    return None if saved is None else inside.stored(saved, pending=False)


def _id(config: RunnableConfig) -> str:
    found: str = config["configurable"]["checkpoint_id"]
    return found
