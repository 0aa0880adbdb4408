"""Binding a graph to a workspace: each run of it starts with the files that its checkpoint goes with."""

import warnings
from collections.abc import AsyncGenerator, AsyncIterator, Iterator
from contextlib import aclosing
from typing import Any, NamedTuple, TypeVar, cast

from langchain_core.runnables import RunnableConfig
from langgraph.graph.state import CompiledStateGraph
from langgraph.pregel import Pregel
from langgraph.pregel.protocol import PregelProtocol
from langgraph.types import Command

from langgraph_trove import flows, inside
from langgraph_trove.aligning import Alignment, Place
from langgraph_trove.errors import ForeignChangeWarning, NoCheckpointer, NotBindable, NotBound
from langgraph_trove.flows import Clients
from langgraph_trove.holds import check_free
from langgraph_trove.leasing import Leasing
from langgraph_trove.lines import Line
from langgraph_trove.nodes import ended, works_in_workspace
from langgraph_trove.resuming import AsyncResuming, Resuming
from langgraph_trove.runs import Binding, OnForeignChange, OnTaken, Run, thread_name
from langgraph_trove.starts import start
from langgraph_trove.state import CHANNEL
from trove_agents import AsyncTroveClient, TroveClient

G = TypeVar("G", bound=Pregel[Any, Any, Any, Any])


def bind(
    graph: G,
    client: TroveClient | AsyncTroveClient,
    *,
    async_client: AsyncTroveClient | None = None,
    on_foreign_change: OnForeignChange = "keep",
    on_taken: OnTaken = "refuse",
    lease_ttl: int = 30,
    lease_wait: float = 60.0,
) -> G:
    """The same graph, whose files follow its checkpoints: through crash, resume, interrupt, time travel and forks.

    Its nodes that work in the workspace, made with ``workspace_node``, ``ExecNode`` or ``WriteNode``, record what they
    leave; before a run's first step the workspace is brought to what its checkpoint recorded. ``invoke``, ``ainvoke``,
    ``stream``, ``astream`` and ``batch`` take ``keep_both=True`` besides: the run gets a fork of the workspace, so that
    the branch it leaves stays as it is.

    A new thread takes the workspace as it is. What others change between turns stays, and is recorded with the next
    input; a run that goes on or goes back to a checkpoint starts from that one's files, and what others changed is kept
    in a reference, which a ``ForeignChangeWarning`` names.

    Args:
        graph: Compiled with a checkpointer, its state with ``WorkspaceState``; or an ``entrypoint``.
        client: Whose workspace; the graph's own, or the one that a thread's first run starts from. With a
            ``TroveClient`` alone, nodes are synchronous; with an ``AsyncTroveClient`` alone, runs and nodes are
            asynchronous. Its key opens the forks that are made: one that is locked to a namespace does not.
        async_client: For asynchronous runs and nodes, beside a synchronous ``client``.
        on_foreign_change: When somebody else changed the workspace: ``"keep"`` is as said above; ``"restore"`` goes
            back on new input as well, keeping a reference; ``"refuse"`` raises ``ForeignChange``.
        on_taken: When a new thread comes to a workspace that another works in: ``"refuse"`` raises
            ``WorkspaceTaken``; ``"fork"`` gives it a fork.
        lease_ttl: Seconds after which the workspace is free again when a process dies in the middle of a step.
        lease_wait: Seconds that a step waits for another process.

    Raises:
        NotBindable: the graph is not compiled; the state lacks ``WorkspaceState``, here or in a graph that is a step of this one; or a node that
            works in the workspace is cached, and would leave its files out.
    """
    given: Any = graph
    if not isinstance(given, Pregel):
        raise NotBindable(
            "bind takes a graph that is compiled: bind(graph.compile(checkpointer=...), client)"
        )
    if isinstance(client, AsyncTroveClient):
        if async_client is not None:
            raise TypeError("two asynchronous clients: which one?")
        clients = Clients(None, client)
    else:
        clients = Clients(client, async_client)
    if client.namespace is None:
        raise NotBindable("name the client's namespace: checkpoints say where their files are")
    if isinstance(graph, CompiledStateGraph):
        _check(graph)
        graph = inside.ending(graph, ended)
    elif graph.cache is not None:
        raise NotBindable(
            "a task that is found in the cache leaves its files out: use an entrypoint without a cache"
        )
    else:
        graph = inside.with_channel(graph)
    leasing = Leasing(lease_ttl, lease_wait)
    records = frozenset(inside.nodes_in(graph) if isinstance(graph, CompiledStateGraph) else ())
    binding = Binding(clients, on_foreign_change, on_taken, leasing, records)
    return inside.turned(graph, _bound(type(graph), binding))


def binding_of(app: Pregel[Any, Any, Any, Any]) -> Binding:
    """What a graph is bound to.

    Raises:
        NotBound: nothing.
    """
    found = getattr(app, "trove_binding", None)
    if not isinstance(found, Binding):
        raise NotBound("this graph has no workspace: bind(graph, client) returns one that has")
    return found


def _bound(kind: type[G], binding: Binding) -> type[G]:
    """A kind of graph that aligns its workspace. The binding is the class's, so that copies of the graph have it."""

    class Bound(kind):  # type: ignore[misc, valid-type]
        trove_binding = binding

        def stream(
            self,
            input: Any,  # noqa: A002 - LangGraph's
            config: RunnableConfig | None = None,
            *,
            keep_both: bool = False,
            **options: Any,
        ) -> Iterator[Any]:
            beginning = _Beginning(self, binding, input, config, options, keep_both=keep_both)
            if beginning.nested:
                yield from kind.stream(self, input, config, **options)
                return
            run, graph, given, config = beginning.begin(beginning.placed(), Resuming)
            try:
                yield from kind.stream(graph, given, config, **options)
            finally:
                run.over = True

        async def astream(
            self,
            input: Any,  # noqa: A002 - LangGraph's
            config: RunnableConfig | None = None,
            *,
            keep_both: bool = False,
            **options: Any,
        ) -> AsyncIterator[Any]:
            beginning = _Beginning(self, binding, input, config, options, keep_both=keep_both)
            if beginning.nested:
                async with aclosing(
                    cast("AsyncGenerator[Any]", kind.astream(self, input, config, **options))
                ) as parts:
                    async for part in parts:
                        yield part
                return
            run, graph, given, config = beginning.begin(await beginning.aplaced(), AsyncResuming)
            try:
                async with aclosing(
                    cast("AsyncGenerator[Any]", kind.astream(graph, given, config, **options))
                ) as parts:
                    async for part in parts:
                        yield part
            finally:
                run.over = True

    Bound.__name__ = Bound.__qualname__ = kind.__name__
    return Bound


class _Begun(NamedTuple):
    """What a run is begun with."""

    run: Run
    graph: Pregel[Any, Any, Any, Any]
    given: Any
    config: RunnableConfig


class _Beginning:
    """What is done before a run's first step."""

    def __init__(
        self,
        graph: Pregel[Any, Any, Any, Any],
        binding: Binding,
        given: Any,
        config: RunnableConfig | None,
        options: dict[str, Any],
        *,
        keep_both: bool,
    ) -> None:
        self._graph = graph
        self._binding = binding
        self._given = given
        self._config = config
        self._merged = inside.merged(graph, config)
        self._events = "custom" in (options.get("stream_mode") or graph.stream_mode)
        self._keep_both = keep_both
        self.nested = inside.nested(self._merged)
        """Whether the run is a step of another, which was begun."""

    def placed(self) -> Place:
        """Where the run works, aligned. Steps of earlier runs, in threads that go on, are waited for."""
        flows.run(self._look())
        place = flows.run(self._alignment.place())
        while True:
            check_free(place.clients.namespace)
            with self._binding.turns_of(place.clients.namespace).mine():
                if flows.run(self._alignment.is_there(place)):
                    return place
                with self._binding.leasing.held(place.clients, self._thread) as (clients, _):
                    settled = flows.run(self._alignment.settle(place._replace(clients=clients)))
            if settled.clients is clients:
                return settled._replace(clients=place.clients)
            place = settled

    async def aplaced(self) -> Place:
        """As ``placed``. With a synchronous client alone, in a thread, but for what the saver is asked."""
        await flows.arun(self._look())
        place = await flows.arun(self._alignment.place())
        while True:
            check_free(place.clients.namespace)
            async with self._binding.turns_of(place.clients.namespace).amine():
                if await flows.arun(self._alignment.is_there(place)):
                    return place
                async with self._binding.leasing.aheld(place.clients, self._thread) as (clients, _):
                    settled = await flows.arun(self._alignment.settle(place._replace(clients=clients)))
            if settled.clients is clients:
                return settled._replace(clients=place.clients)
            place = settled

    def begin(self, place: Place, resuming: type[Resuming]) -> "_Begun":
        """What to run."""
        assert place.ref is not None
        if place.notice is not None:
            warnings.warn(place.notice, ForeignChangeWarning, stacklevel=4)
        run = Run(
            self._binding,
            self._thread,
            place.clients,
            place.ref,
            self._events,
            self._start.line or Line(""),
        )
        again = self._start.again
        config = inside.with_run(
            self._config if again is None else inside.at_checkpoint(self._config, again), run
        )
        thread_id = str(self._merged["configurable"]["thread_id"])
        config = inside.with_handler(config, resuming(run, self._saver, thread_id))
        if not place.new or (self._given is None and not self._start.known):
            return _Begun(run, self._graph, self._given, config)
        fresh = self._start.fresh and not isinstance(self._given, Command)
        given = inside.with_reference(self._graph, self._given, place.ref, fresh=fresh)
        return _Begun(run, inside.taking(self._graph) if fresh else self._graph, given, config)

    def _look(self) -> flows.Flow[None]:
        saver = inside.saver_of(self._graph, self._merged)
        if saver is None:
            raise NoCheckpointer("a workspace follows checkpoints: compile the graph with a checkpointer")
        self._saver = saver
        self._thread = thread_of(self._merged)
        self._start = yield from start(self._graph, saver, self._merged, self._given)
        self._alignment = Alignment(self._binding, self._thread, self._start, keep_both=self._keep_both)


def thread_of(config: RunnableConfig) -> str:
    """The thread that a run's config names.

    Raises:
        NoCheckpointer: it names none.
    """
    given = config.get("configurable", {})
    if "thread_id" not in given:
        raise NoCheckpointer('checkpoints belong to a thread: {"configurable": {"thread_id": ...}} names it')
    return thread_name(given["thread_id"])


def _check(graph: Pregel[Any, Any, Any, Any]) -> None:
    if CHANNEL not in graph.channels:
        raise NotBindable("the state has nothing to keep references in: derive it from WorkspaceState")
    for name, each in (("", graph), *graph.get_subgraphs(recurse=True)):
        if isinstance(each, Pregel):
            _check_one(each, f" of '{name}'" if name else "")


def _check_one(graph: Pregel[Any, Any, Any, Any], within: str) -> None:
    working = {name for name, node in graph.nodes.items() if works_in_workspace(node.bound)}
    if working and CHANNEL not in graph.channels:
        raise NotBindable(
            f"'{min(working)}'{within} works in the workspace: derive its state from WorkspaceState"
        )
    working |= {name for name, below in graph.get_subgraphs() if _works(below)}
    cached = sorted(name for name in working if graph.nodes[name].cache_policy or graph.cache_policy)
    if cached:
        raise NotBindable(
            f"'{cached[0]}'{within} works in the workspace and is cached: found in the cache, it would leave its files"
            " out"
        )


def _works(graph: PregelProtocol[Any, Any, Any, Any]) -> bool:
    return isinstance(graph, Pregel) and (
        any(works_in_workspace(node.bound) for node in graph.nodes.values())
        or any(_works(below) for _, below in graph.get_subgraphs())
    )
