"""What can be bound, and what a run needs."""

import pytest
from langgraph.cache.memory import InMemoryCache
from langgraph.checkpoint.memory import InMemorySaver
from langgraph.func import entrypoint, task
from langgraph.graph import START, StateGraph
from langgraph.types import CachePolicy
from typing_extensions import TypedDict

from langgraph_trove import (
    NoCheckpointer,
    NoReference,
    NotBindable,
    UnknownReference,
    WorkspaceError,
    bind,
    workspace_node,
)
from trove_agents import NotSupported, TroveClient
from trove_agents.client.transport import Reply

from .graphs import State, agree, before, bound, config, line, step, text

NEW = {"log": []}


class Plain(TypedDict, total=False):
    log: list[str]


def test_the_state_has_to_have_room_for_references(client):
    with pytest.raises(NotBindable, match="WorkspaceState"):
        bind(StateGraph(Plain).add_node("a", lambda _: None).add_edge(START, "a").compile(), client)
    inner = (
        StateGraph(Plain)
        .add_node("b", workspace_node(lambda _, workspace: None))
        .add_edge(START, "b")
        .compile()
    )
    outer = StateGraph(State).add_node("sub", inner).add_edge(START, "sub").compile()
    with pytest.raises(NotBindable, match="'b' of 'sub'"):
        bind(outer, client)


def test_a_cached_node_is_refused(client):
    """E12: found in the cache, a node does not run, and its files would be missing."""
    builder = StateGraph(State).add_node("a", step("a"), cache_policy=CachePolicy()).add_edge(START, "a")
    with pytest.raises(NotBindable, match="'a' works in the workspace and is cached"):
        bind(builder.compile(cache=InMemoryCache()), client)
    inner = line(step("b")).compile()
    builder = StateGraph(State).add_node("sub", inner, cache_policy=CachePolicy()).add_edge(START, "sub")
    with pytest.raises(NotBindable, match="'sub' works"):
        bind(builder.compile(cache=InMemoryCache()), client)
    with pytest.raises(NotBindable, match="without a cache"):
        bind(entrypoint(cache=InMemoryCache())(lambda given: None), client)
    builder = line(step("c")).add_node("free", lambda _: {}, cache_policy=CachePolicy())
    bind(builder.compile(cache=InMemoryCache()), client)


def test_a_graph_needs_a_checkpointer_and_a_thread(client):
    app = bind(line(step("a")).compile(), client)
    with pytest.raises(NoCheckpointer, match="compile"):
        app.invoke(NEW, config())
    app = bound(line(step("a")), InMemorySaver(), client)
    with pytest.raises(NoCheckpointer, match="thread_id"):
        app.invoke(NEW)


def test_a_checkpoint_from_before_the_graph_was_bound(client):
    plain = line(step("a")).compile(checkpointer=InMemorySaver(), interrupt_before=["a"])
    plain.invoke(NEW, config())
    app = bind(plain, client)
    with pytest.raises(NoReference, match="new input"):
        app.invoke(None, config())
    app.invoke(NEW, config())
    app.invoke(None, config())
    assert text(client) == "a"


def test_a_reference_that_is_gone(client):
    app = bound(line(step("a"), step("b")), InMemorySaver(), client)
    app.invoke(NEW, config())
    old = before(app, "b")
    client.delete_reference(app.get_state(old).values["workspace"]["reference"])
    with pytest.raises(UnknownReference, match="ref-"):
        app.invoke(None, old)
    client.delete_namespace(client.namespace)
    with pytest.raises(UnknownReference):
        app.invoke(NEW, config())


class PublicServer:
    """One that has the public endpoints only."""

    retries = False

    def send(self, request):
        if request.path == "/v1/me":
            body = b'{"workspace_id": "w", "key_id": "k", "key_name": "n", "scope": "workspace", "capabilities": []}'
            return Reply(200, {}, body)
        return Reply(404, {}, b'{"detail": "not found"}')

    def close(self):
        pass


def test_a_server_without_the_additions():
    app = bound(line(step("a")), InMemorySaver(), TroveClient("key", "w", transport=PublicServer()))
    with pytest.raises(NotSupported, match="leases|references|history|steps"):
        app.invoke(NEW, config())


def test_a_client_has_to_name_its_workspace():
    with pytest.raises(NotBindable, match="namespace"):
        bound(line(step("a")), InMemorySaver(), TroveClient("key", transport=PublicServer()))


def test_a_graph_has_to_be_compiled(client):
    with pytest.raises(NotBindable, match=r"graph\.compile"):
        bind(StateGraph(State), client)


def test_two_asynchronous_clients(async_client):
    with pytest.raises(TypeError, match="which one"):
        bound(line(step("a")), InMemorySaver(), async_client, async_client=async_client)


def test_a_run_inside_a_step_of_the_same_workspace(client):
    app = bound(line(step("a")), InMemorySaver(), client)

    @workspace_node
    def nest(state: State, workspace):
        app.invoke(NEW, config("other"))

    outer = bind(StateGraph(State).add_node(nest).add_edge(START, "nest").compile(InMemorySaver()), client)
    with pytest.raises(WorkspaceError, match="holds the workspace"):
        outer.invoke(NEW, config())


def test_a_graph_that_a_node_calls_works_under_its_lease(client):
    inner = line(step("1"), step("2")).compile()

    @workspace_node
    def call(state: State, workspace):
        workspace.write("log.txt", text(workspace) + "<")
        found = inner.invoke({"log": []})
        workspace.write("log.txt", text(workspace) + ">")
        return {"log": ["<", *found["log"], ">"]}

    builder = line(step("a"))
    builder.add_node("call", call).add_edge("a", "call")
    app = bound(builder, InMemorySaver(), client)
    app.invoke(NEW, config())
    assert agree(app, client) == "a<12>"


def flow(client, crashes, saver=None):
    @task
    @workspace_node
    def add(letter: str, workspace) -> str:
        workspace.write("log.txt", text(workspace) + letter)
        if crashes.get(letter):
            crashes[letter] -= 1
            raise RuntimeError(letter)
        return letter

    @entrypoint(checkpointer=saver or InMemorySaver())
    def whole(letters: list[str], *, previous: str | None = None) -> str:
        return (previous or "") + "".join(add(letter).result() for letter in letters)

    return bind(whole, client)


def test_e10_the_functional_api(client, durability):
    app = flow(client, {"b": 1})
    with pytest.raises(RuntimeError):
        app.invoke(["a", "b", "c"], config(), durability=durability)
    assert text(client) == "a"
    assert app.invoke(None, config(), durability=durability) == "abc"
    assert text(client) == "abc", "the finished task is not run again"
    assert app.invoke(["d"], config(), durability=durability) == "abcd"
    assert text(client) == "abcd"
    old = [state for state in app.get_state_history(config()) if state.next]
    assert app.invoke(None, old[0].config, durability=durability) == text(client)


async def test_e10b_the_functional_api_for_asyncio(client, async_client):
    @task
    @workspace_node
    async def add(letter: str, workspace) -> str:
        await workspace.write(f"{letter}.txt", letter)
        return letter

    @entrypoint(checkpointer=InMemorySaver())
    async def whole(letters: list[str]) -> str:
        return "".join([await add(letter) for letter in letters])

    app = bind(whole, async_client)
    assert await app.ainvoke(["a", "b"], config()) == "ab"
    assert [each.path for each in client.list_dir()] == ["workspace/a.txt", "workspace/b.txt"]


def test_batch(trove, client):
    app = bound(line(step("a")), InMemorySaver(), client, on_taken="fork")
    found = app.batch([NEW, NEW, NEW], [config(str(number)) for number in range(3)])
    assert len({each["workspace"]["namespace"] for each in found}) == 3
    for number in range(3):
        assert agree(app, client, str(number)) == "a"
