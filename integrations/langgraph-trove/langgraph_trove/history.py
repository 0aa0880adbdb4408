"""Looking at the files of a graph's past, which leaves those of the present alone."""

import asyncio
from collections.abc import AsyncIterator, Iterator, Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

from langchain_core.runnables import RunnableConfig
from langgraph.pregel import Pregel
from langgraph.types import StateSnapshot

from langgraph_trove import flows, inside, spending
from langgraph_trove.bind import binding_of, thread_of
from langgraph_trove.errors import NoReference, UnknownReference
from langgraph_trove.flows import Ask, Clients, Flow, read
from langgraph_trove.spending import Spending, id_of
from langgraph_trove.state import CHANNEL, WorkspaceRef
from trove_agents import AsyncTroveClient, Difference, FileInfo, ListResult, TroveClient, TroveNotFoundError
from trove_agents.guard import AsyncGuard, Guard, Receipt

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
    payments: Sequence[Receipt] = ()
    """Of the steps that led to it, as they stand now, with those that were refused or gave their money back. Each is in one
    place: a branch that writes again what was paid for elsewhere has none."""
    begun: Sequence[Receipt] = ()
    """Of steps that begin here and have led to no checkpoint yet: they failed, wait, or are at work."""

    @property
    def spent_usd(self) -> Decimal:
        """What the payments did cost. What the wallet's owner refunded since is not taken off."""
        return spending.spent(self.payments)

    @property
    def in_doubt_usd(self) -> Decimal:
        """What is held for payments, ``begun`` included, of which nobody knows how they ended."""
        return spending.in_doubt([*self.payments, *self.begun])


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


def history(
    app: Graph, config: RunnableConfig, *, branch: bool = False, guard: Guard | None = None
) -> Iterator[StepFiles]:
    """The checkpoints of a thread, newest first, each with what changed in the files on the way to it.

    Args:
        app: A bound graph.
        config: Names the thread.
        branch: Only the checkpoints that led to the one that ``config`` names, or to the last; not other branches.
        guard: Of the ``PaidNode`` or ``WalletMiddleware`` of the graph, whose journal says what was paid; None: nothing is
            said of payments.

    Raises:
        NoCheckpointer: ``config`` names no thread.
        UnknownReference: a checkpoint's reference is gone.
    """
    receipts = [] if guard is None else guard.receipts(thread=thread_of(config))
    past: _Past = flows.run(_past(app, config, receipts, branch=branch))
    for state in past.states:
        yield flows.run(past.step(state))


async def ahistory(
    app: Graph, config: RunnableConfig, *, branch: bool = False, guard: Guard | AsyncGuard | None = None
) -> AsyncIterator[StepFiles]:
    """As :func:`history`."""
    receipts: Sequence[Receipt] = ()
    if isinstance(guard, Guard):
        receipts = await asyncio.to_thread(guard.receipts, thread=thread_of(config))
    elif guard is not None:
        receipts = await guard.receipts(thread=thread_of(config))
    past: _Past = await flows.arun(_past(app, config, receipts, branch=branch))
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
    spending: Spending

    def step(self, state: StateSnapshot) -> Flow[StepFiles]:
        ref, before = self.refs[id_of(state.config)], None
        if state.parent_config is not None:
            before = self.refs.get(id_of(state.parent_config))
        files: list[Difference] = []
        if ref and before and ref["namespace"] == before["namespace"] and ref["version"] != before["version"]:
            clients, a, b = self.clients.elsewhere(ref["namespace"]), before["reference"], ref["reference"]
            try:
                files = yield Ask(clients, lambda client: client.diff(a, b))
            except TroveNotFoundError as error:
                raise UnknownReference(
                    f"'{a}' or '{b}' of the workspace '{ref['namespace']}' is gone"
                ) from error
        here = id_of(state.config)
        made, begun = self.spending
        return StepFiles(state, ref, files, made.get(here, ()), begun.get(here, ()))


def _past(app: Graph, config: RunnableConfig, receipts: Sequence[Receipt], *, branch: bool) -> Flow[_Past]:
    thread_of(config)
    given = config["configurable"]
    end = given.get("checkpoint_id")
    thread = {"configurable": {name: given[name] for name in given.keys() - {"checkpoint_id"}}}
    all_of_them: list[StateSnapshot] = yield read(app, "get_state_history", thread)
    if branch:
        states = _branch(all_of_them, end)
    else:
        states = [each for each in all_of_them if end in (None, id_of(each.config))]
    refs = {}
    for state in states:
        refs[id_of(state.config)] = yield from _ref(app, state)
    return _Past(binding_of(app).clients, states, refs, spending.spending(all_of_them, receipts))


def _branch(states: list[StateSnapshot], end: str | None) -> list[StateSnapshot]:
    """Those that led to a checkpoint, or to the last; newest first, as they are given."""
    found, wanted = [], end
    for state in states:
        if wanted in (None, id_of(state.config)):
            found.append(state)
            if state.parent_config is None:
                break
            wanted = id_of(state.parent_config)
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
