"""Crash, resume, interrupt, time travel: what the checkpoint says and what the workspace holds stay one.

``e...``: the traces of how LangGraph behaves on which the mechanism was built.
"""

import threading

import pytest
from langgraph.checkpoint.memory import InMemorySaver
from langgraph.func import entrypoint, task
from langgraph.types import Command, RetryPolicy, Send

from langgraph_trove import ForeignChangeWarning, WorkspaceError, bind, workspace_node

from .graphs import Crash, State, agree, astep, before, bound, config, line, step, text, wide

NEW = {"log": []}


def test_e1_every_checkpoint_has_its_files(client, saver, durability):
    app = bound(line(step("a"), step("b"), step("c")), saver, client)
    assert app.invoke(NEW, config(), durability=durability)["log"] == ["a", "b", "c"]
    assert agree(app, client) == "abc"
    app.invoke(NEW, config(), durability=durability)
    assert agree(app, client) == "abcabc"


def test_e2_crash_and_resume(client, saver, durability):
    app = bound(line(step("a"), step("b", {"b": 1}), step("c")), saver, client)
    with pytest.raises(Crash):
        app.invoke(NEW, config(), durability=durability)
    assert text(client) == "a", "what the failed step wrote is gone at once"
    app.invoke(None, config(), durability=durability)
    assert agree(app, client) == "abc"


def test_e2b_crash_and_new_input(client, saver, durability):
    app = bound(line(step("a"), step("b", {"b": 1})), saver, client)
    with pytest.raises(Crash):
        app.invoke(NEW, config(), durability=durability)
    app.invoke(NEW, config(), durability=durability)
    assert agree(app, client) == "aab"


def slow_crash(begun):
    """A node that fails when the others have done their part."""

    def wait(workspace):
        begun.wait(5)

    return wait


def test_e3_parallel_steps_and_one_that_crashes(client, saver, durability):
    app = bound(wide(step("a"), step("b"), step("x", {"x": 1}), last=step("d")), saver, client)
    with pytest.raises(Crash):
        app.invoke(NEW, config(), durability=durability)
    app.invoke(None, config(), durability=durability)
    assert sorted(agree(app, client)) == list("abdx")


def test_e3c_what_was_finished_is_not_done_again_however_often_another_fails(client, saver):
    done, crashes = [], {"x": 1, "y": 2}
    nodes = [step(name, crashes, before=lambda _, name=name: done.append(name)) for name in "bxy"]
    inner = line(step("1"), step("2")).compile()
    builder = wide(step("a"), *nodes, last=step("d"))
    builder.add_node("sub", inner).add_edge("a", "sub")
    app = bound(builder, saver, client)
    for given in (NEW, None):
        with pytest.raises(Crash):
            app.invoke(given, config())
    while app.get_state(config()).next:
        try:
            app.invoke(None, config())
        except Crash:
            continue
    assert done.count("b") == 1
    assert sorted(text(client)) == sorted("abxyd12")


def test_e3b_parallel_crash_and_new_input(client, saver, durability):
    app = bound(wide(step("a"), step("b"), step("x", {"x": 1}), last=step("d")), saver, client)
    with pytest.raises(Crash):
        app.invoke(NEW, config(), durability=durability)
    app.invoke(NEW, config(), durability=durability)
    assert sorted(agree(app, client)) == list("aabdx"), "what the finished one did is not taken over"


def test_e4_interrupt_and_resume(client, saver, durability):
    app = bound(line(step("a"), step("b", asks=True), step("c")), saver, client)
    assert "__interrupt__" in app.invoke(NEW, config(), durability=durability)
    assert text(client) == "a", "the node begins again when it is answered"
    app.invoke(Command(resume="yes"), config(), durability=durability)
    assert agree(app, client) == "abc"


def test_e4b_parallel_interrupts(client, saver, durability):
    app = bound(wide(step("a"), step("b"), step("x", asks=True), last=step("d")), saver, client)
    app.invoke(NEW, config(), durability=durability)
    assert sorted(text(client)) == list("ab")
    app.invoke(Command(resume="yes"), config(), durability=durability)
    assert sorted(agree(app, client)) == list("abdx")


@pytest.mark.parametrize("durability", ["sync", "async"])  # with "exit" there is nothing to go back to
def test_e5_time_travel(client, saver, durability):
    app = bound(line(step("a"), step("b"), step("c")), saver, client)
    app.invoke(NEW, config(), durability=durability)
    for node in ("b", "c"):
        app.update_state(before(app, node), None) if node == "c" else None
        app.invoke(None, before(app, node), durability=durability)
        assert agree(app, client) == "abc"
    app.invoke(NEW, config(), durability=durability)
    assert agree(app, client) == "abcabc"


def test_e5e_files_that_were_brought_back_are_left_where_they_are(client, saver):
    def look(state: State):
        return {}

    app = bound(line(step("a"), look), saver, client, lease_wait=0)
    for _ in range(2):
        app.invoke(NEW, config())
    first = [each.config for each in app.get_state_history(config()) if each.next == ("look",)][-1]
    app.invoke(None, first)
    with client.lease():  # only who would change something waits for it
        app.invoke(None, first)
    assert agree(app, client) == "a"
    client.write("theirs.txt", "later")
    with pytest.warns(ForeignChangeWarning, match="theirs.txt"):
        app.invoke(None, first)
    assert "theirs.txt" not in [each.path for each in client.list_dir()]
    assert agree(app, client) == "a"


def test_e5b_a_state_that_was_edited_keeps_its_files(client, saver):
    app = bound(line(step("a"), step("b"), step("c")), saver, client)
    app.invoke(NEW, config())
    edited = app.update_state(before(app, "b"), {"log": []})
    app.invoke(None, edited)
    assert agree(app, client) == "abc"


def test_e5c_new_input_at_an_old_checkpoint(client, saver):
    app = bound(line(step("a"), step("b")), saver, client)
    app.invoke(NEW, config())
    app.invoke(NEW, before(app, "b"))
    assert agree(app, client) == "aab"


def test_e5d_time_travel_to_an_interrupt_and_an_answer(client, saver):
    app = bound(line(step("a"), step("b", asks=True), step("c")), saver, client)
    app.invoke(NEW, config())
    asked = before(app, "b")
    app.invoke(Command(resume="yes"), config())
    assert agree(app, client) == "abc"
    app.invoke(Command(resume="again"), asked)
    assert agree(app, client) == "abc"


def nested(saver, client, crashes=None, *, asks=False):
    inner = line(step("1"), step("2", crashes, asks=asks), step("3")).compile()
    builder = line(step("a"), step("c"))
    builder.edges.discard(("a", "c"))
    builder.add_node("sub", inner)
    builder.add_edge("a", "sub").add_edge("sub", "c")
    return bound(builder, saver, client)


def agree_nested(app, client):
    """A subgraph adds what it was given to the log once more, so only the files are looked at."""
    state = app.get_state(config())
    ref = state.values["workspace"]
    assert text(client, at=ref["reference"]) == text(client)
    return text(client)


def test_e6_a_crash_in_a_subgraph(client, saver, durability):
    app = nested(saver, client, {"2": 1})
    with pytest.raises(Crash):
        app.invoke(NEW, config(), durability=durability)
    assert text(client) == "a1"
    app.invoke(None, config(), durability=durability)
    assert agree_nested(app, client) == "a123c"


def test_e6b_an_interrupt_in_a_subgraph_and_time_travel(client, saver):
    app = nested(saver, client, asks=True)
    app.invoke(NEW, config())
    assert text(client) == "a1"
    app.invoke(Command(resume=1), config())
    assert agree_nested(app, client) == "a123c"
    app.invoke(None, before(app, "sub"))
    assert text(client) == "a1"
    app.invoke(Command(resume=1), config())
    assert agree_nested(app, client) == "a123c"
    app.invoke(None, before(app, "c"))
    assert agree_nested(app, client) == "a123c"


def test_e6c_time_travel_to_a_checkpoint_of_a_subgraph(client, saver):
    app = nested(saver, client, asks=True)
    app.invoke(NEW, config())
    inside = app.get_state(config(), subgraphs=True).tasks[0].state.config
    app.invoke(Command(resume=1), config())
    app.invoke(None, inside)
    assert text(client) == "a1", "LangGraph begins the subgraph anew, in a fork of the checkpoint above it"
    app.invoke(Command(resume=1), config())
    assert agree_nested(app, client) == "a123c"
    edited = app.update_state(inside, None)
    app.invoke(None, edited)
    assert text(client) == "a1"


def test_e8g_what_a_failed_sibling_wrote_is_in_nobodys_reference(client):
    begun, crashes = threading.Event(), {"x": 1}
    app = bound(
        wide(
            step("a"),
            step("b", before=lambda workspace: begun.wait(0.2)),
            step("x", crashes, before=lambda workspace: begun.set()),
            last=step("d"),
        ),
        InMemorySaver(),
        client,
    )
    with pytest.raises(Crash):
        app.invoke(NEW, config())
    app.invoke(None, config())
    assert sorted(agree(app, client)) == list("abdx")


def lose(saver, task):
    """As when the process dies before one of several results is stored, which are stored in no order."""
    for writes in saver.writes.values():
        for key in [key for key, each in writes.items() if each[1] in ("log", "__return__")]:
            if saver.serde.loads_typed(writes[key][2]) in ([task], task):
                for each in [each for each in writes if each[0] == key[0]]:
                    del writes[each]


@pytest.mark.parametrize("lost", ["b", "c"])
def test_e8h_a_parallel_step_that_was_not_stored_though_a_later_one_was(client, saver, lost):
    crashes, done = {"x": 1}, []
    nodes = [step(name, crashes, before=lambda workspace, name=name: done.append(name)) for name in "bcx"]
    app = bound(wide(step("a"), *nodes, last=step("d")), saver, client)
    with pytest.raises(Crash):
        app.invoke(NEW, config(), durability="sync")
    lose(saver, lost)
    del done[:]
    later = done_after(app, lost)
    if later:
        with pytest.raises(WorkspaceError, match="go on with None"):
            app.invoke(Command(resume=1), config())
    app.invoke(None, config())
    assert sorted(agree(app, client)) == list("abcdx")
    assert sorted(done) == (list("bcx") if later else sorted([lost, "x"]))


def done_after(app, lost):
    """Whether a step that is stored builds on one that is not."""
    refs = [task.result["workspace"] for task in app.get_state(config()).tasks if task.result]
    return any(ref["line"]["count"] > 1 for ref in refs)


def test_e8i_results_of_two_attempts_at_one_checkpoint(client, saver):
    """Sent back to a checkpoint that is a fork and the last, LangGraph runs its tasks again, on the same checkpoint."""
    crashes = {"x": 1}
    app = bound(wide(step("a"), *(step(name, crashes) for name in "bcx"), last=step("d")), saver, client)
    with pytest.raises(Crash):
        app.invoke(NEW, config())
    crashes |= {"x": 1, "b": 0, "c": 0}
    with pytest.raises(Crash):
        app.invoke(None, before(app, "x"))
    crashes |= {"x": 1, "b": 1}
    with pytest.raises(Crash):
        app.invoke(None, before(app, "x"))
    app.invoke(None, config())
    assert sorted(agree(app, client)) == list("abcdx")


def test_e11_the_head_by_its_id_is_time_travel(client, saver):
    app = bound(wide(step("a"), step("b"), step("x", {"x": 1}), last=step("d")), saver, client)
    with pytest.raises(Crash):
        app.invoke(NEW, config())
    app.invoke(None, app.get_state(config()).config)
    assert sorted(agree(app, client)) == list("abdx")


def test_attempts_begin_where_the_node_began(client, saver):
    builder = line(step("a"))
    policy = RetryPolicy(initial_interval=0.001, max_attempts=3, jitter=False, retry_on=Crash)
    builder.add_node("b", step("b", {"b": 2}), retry_policy=policy).add_edge("a", "b")
    app = bound(builder, saver, client)
    app.invoke(NEW, config())
    assert agree(app, client) == "ab"


def test_commands_lists_and_sends(client):
    from langgraph_trove import workspace_node

    @workspace_node
    def a(state: State, workspace):
        workspace.write("log.txt", text(workspace) + "a")
        return Command(update={"log": ["a"]}, goto=[Send("b", state), "c"])

    builder = line(step("b"))
    builder.edges.clear()
    builder.add_node("a", a)
    builder.add_node("c", step("c"))
    builder.add_edge("__start__", "a")
    app = bound(builder, InMemorySaver(), client)
    app.invoke(NEW, config())
    assert sorted(agree(app, client)) == list("abc")


async def test_e21_asyncio(client, async_client, durability):
    app = bound(
        wide(astep("a"), astep("b"), astep("x", {"x": 1}), step("y"), last=astep("d")),
        InMemorySaver(),
        client,
        async_client=async_client,
    )
    with pytest.raises(Crash):
        await app.ainvoke(NEW, config(), durability=durability)
    await app.ainvoke(None, config(), durability=durability)
    assert sorted(agree(app, client)) == list("abdxy")
    if durability != "exit":
        await app.ainvoke(None, before(app, "d"), durability=durability)
        assert sorted(agree(app, client)) == list("abdxy")


async def test_asyncio_with_an_asynchronous_client_alone(client, async_client):
    app = bound(line(astep("a"), astep("b", asks=True)), InMemorySaver(), async_client)
    await app.ainvoke(NEW, config())
    await app.ainvoke(Command(resume=1), config())
    assert agree(app, client) == "ab"
    with pytest.raises(TypeError, match="give bind a TroveClient"):
        app.invoke(NEW, config())


async def test_asyncio_with_a_synchronous_client_alone(trove, client):
    app = bound(line(step("a"), step("b", {"b": 1})), InMemorySaver(), client)
    with pytest.raises(Crash):
        await app.ainvoke(NEW, config())
    await app.ainvoke(None, config())
    assert agree(app, client) == "ab"
    with pytest.raises(TypeError, match="async_client"):
        await bound(line(astep("a")), InMemorySaver(), trove.client("sync-only")).ainvoke(NEW, config())


def test_a_copy_with_a_configuration_stays_bound(client):
    app = bound(line(step("a"), step("b", {"b": 1})), InMemorySaver(), client).with_config(config())
    with pytest.raises(Crash):
        app.invoke(NEW)
    list(app.stream(None))
    assert agree(app, client) == "ab"


def meeting(crashes, *, parties=2):
    """A node that does nothing in the workspace, and fails when all that are like it are there."""
    barrier = threading.Barrier(parties)

    def meet(state: State):
        if crashes.get("meet"):
            barrier.wait(5)
            crashes["meet"] = 0
            raise Crash("meet")
        return {}

    return meet


def forget(saver, node):
    """As when the process dies before more than the beginning of a subgraph is stored."""
    for namespace, checkpoints in saver.storage["t"].items():
        if namespace.startswith(f"{node}:"):
            for each in sorted(checkpoints)[1:]:
                del checkpoints[each]
            for key in [key for key in saver.writes if key[1] == namespace]:
                del saver.writes[key]


@pytest.mark.parametrize("lost", ["earlier", "later"])
def test_e8j_a_step_of_a_parallel_subgraph_that_was_not_stored_though_one_beside_it_was(client, saver, lost):
    crashes, done = {"meet": 1}, []
    noted = lambda name: step(name, before=lambda workspace: done.append(name))
    meet = meeting(crashes)
    builder = wide(step("a"), noted("b"), last=step("d"))
    for name in ("1", "2"):
        inner = line(noted(name), meet, noted(f"{name}.")).compile()
        builder.add_node(f"sub{name}", inner).add_edge("a", f"sub{name}").add_edge(f"sub{name}", "d")
    app = bound(builder, saver, client)
    with pytest.raises(Crash):
        app.invoke(NEW, config(), durability="sync")
    assert sorted(done) == ["1", "2", "b"]
    order = [each for each in done if each != "b"]
    gone = order[0] if lost == "earlier" else order[1]
    forget(saver, f"sub{gone}")
    del done[:]
    app.invoke(None, config())
    assert sorted(text(client)) == sorted(["a", "b", "d", *"12", *"1.", *"2."])
    assert sorted(done) == sorted(["1.", "2.", gone] + ([order[1], "b"] if lost == "earlier" else []))


@pytest.mark.parametrize("lost", [0, 1])
def test_e8k_parallel_steps_within_a_subgraph(client, saver, lost):
    crashes, done = {"x": 1}, []
    noted = [step(name, crashes, before=lambda workspace, name=name: done.append(name)) for name in "12x"]
    inner = wide(step("0"), *noted, last=step("3")).compile()
    builder = line(step("a"))
    builder.add_node("sub", inner).add_edge("a", "sub")
    app = bound(builder, saver, client)
    with pytest.raises(Crash):
        app.invoke(NEW, config(), durability="sync")
    stored = [each for each in done if each != "x"]
    lose(saver, stored[lost])
    app.invoke(None, config())
    assert sorted(text(client)) == sorted("a0123x")


@pytest.mark.parametrize("kept", [True, False])
def test_e8l_subgraphs_that_keep_their_checkpoints_over_runs_or_have_none(client, saver, kept):
    crashes = {"meet": 1}
    meet = meeting(crashes, parties=1)
    builder = wide(step("a"), step("b"), last=step("d"))
    inner = line(step("1"), meet, step("2", asks=kept), step("3")).compile(checkpointer=kept)
    builder.add_node("sub", inner).add_edge("a", "sub").add_edge("sub", "d")
    app = bound(builder, saver, client)
    with pytest.raises(Crash):
        app.invoke(NEW, config())
    app.invoke(None, config())
    if kept:
        app.invoke(Command(resume=1), config())
    assert sorted(text(client)) == sorted("ab123d")


def test_e8m_the_second_graph_that_a_node_calls(client, saver):
    crashes = {"4": 1}
    first, second = line(step("1"), step("2")).compile(), line(step("3"), step("4", crashes)).compile()

    def call(state: State):
        first.invoke({"log": []})
        second.invoke({"log": []})
        return {"log": list("1234")}

    builder = line(step("a"))
    builder.add_node("call", call).add_edge("a", "call")
    app = bound(builder, saver, client)
    with pytest.raises(Crash):
        app.invoke(NEW, config())
    client.write("upload.txt", "x")  # so that the files have to be set
    with pytest.warns(ForeignChangeWarning):
        app.invoke(None, config())
    assert agree(app, client) == "a1234"


@pytest.mark.parametrize("lost", [0, 1])
def test_e10_parallel_tasks_of_the_functional_api(client, saver, lost):
    crashes, done = {"x": 1}, []

    def made(name):
        @task
        @workspace_node
        def add(workspace):
            workspace.write("log.txt", text(workspace) + name)
            done.append(name)
            if crashes.get(name):
                crashes[name] -= 1
                raise Crash(name)
            return name

        return add

    tasks = [made(name) for name in "bcx"]

    @entrypoint(checkpointer=saver)
    def flow(given: str):
        begun = [each() for each in tasks]
        return [each.result() for each in begun]

    app = bind(flow, client)
    with pytest.raises(Crash):
        app.invoke("go", config(), durability="sync")
    stored = [each for each in done if each != "x"]
    lose(saver, stored[lost])
    app.invoke(None, config())
    assert sorted(text(client)) == list("bcx")
