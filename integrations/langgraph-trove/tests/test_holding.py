"""A step's time with the workspace: waiting for it, keeping it, losing it."""

import asyncio
import os
import subprocess
import sys
import threading
from contextlib import suppress
from pathlib import Path

import pytest
from langgraph.checkpoint.memory import InMemorySaver
from langgraph.graph import START, StateGraph

from langgraph_trove import holders, workspace_node
from langgraph_trove.turns import Turns
from trove_agents import LeaseLost, WorkspaceLeased

from .graphs import State, agree, astep, bound, config, line, step, text, wide

NEW = {"log": []}


def one(node, client, **options):
    return bound(
        StateGraph(State).add_node("n", node).add_edge(START, "n"), InMemorySaver(), client, **options
    )


def test_others_are_refused_while_a_step_works_and_reading_is_free(client):
    seen = []

    @workspace_node
    def work(state: State, workspace):
        workspace.write("a", "x")
        with pytest.raises(WorkspaceLeased, match="thread t"):
            client.write("b", "y")
        seen.append(client.read_text("a"))

    one(work, client).invoke(NEW, config())
    assert (seen, client.lease_holder()) == (["x"], None)


def test_a_step_waits_for_another_process_and_says_so(client, caplog):
    app, held = bound(line(step("a")), InMemorySaver(), client), threading.Event()

    def hold():
        with client.lease(holder="somebody"):
            held.set()
            threading.Event().wait(0.2)

    other = threading.Thread(target=hold)
    other.start()
    held.wait()
    app.invoke(NEW, config())
    other.join()
    assert agree(app, client) == "a"
    assert f"waiting for the workspace '{client.namespace}'" in caplog.text
    assert "somebody" in caplog.text


def test_it_does_not_wait_for_ever(client):
    app = bound(line(step("a")), InMemorySaver(), client, lease_wait=0.01)
    with client.lease(holder="somebody"), pytest.raises(WorkspaceLeased, match="somebody") as refused:
        app.invoke(NEW, config())
    assert "lease_wait" in refused.value.__notes__[0]


def gone():
    """The number of a process that was there."""
    done = subprocess.Popen([sys.executable, "-c", ""])
    done.wait()
    return done.pid


async def test_the_lease_of_a_process_that_died_is_ended_at_once(client, async_client, caplog):
    app = bound(line(astep("a")), InMemorySaver(), client, async_client=async_client, lease_wait=0.01)
    left = holders.name("t").replace(f" {os.getpid()}@", f" {gone()}@")
    client.lease(ttl=600, holder=left).__enter__()
    await app.ainvoke(NEW, config())
    client.lease(ttl=600, holder=left).__enter__()
    bound(line(step("b")), InMemorySaver(), client, lease_wait=0.01, on_taken="fork").invoke(NEW, config("u"))
    assert text(client) == "a"
    assert "waiting" not in caplog.text


@pytest.mark.parametrize(
    "holder",
    [
        "somebody",
        "",
        pytest.param(holders.name("t"), id="this process"),
        "langgraph 1@0000000000000000 thread t",
        "langgraph 9x@0000 thread t",
    ],
)
def test_whoever_may_be_there_is_not_gone(holder):
    assert not holders.is_gone(holder)


def test_a_step_that_takes_long_keeps_the_lease(client):
    @workspace_node
    def work(state: State, workspace):
        workspace.write("log.txt", "a")
        threading.Event().wait(2.2)
        workspace.write("log.txt", "aa")
        return {"log": ["a", "a"]}

    app = one(work, client, lease_ttl=2)
    app.invoke(NEW, config())
    assert agree(app, client) == "aa"


async def test_one_of_asyncio_does_too(client, async_client):
    @workspace_node
    async def work(state: State, workspace):
        await workspace.write("log.txt", "a")
        await asyncio.sleep(2.2)
        await workspace.write("log.txt", "aa")
        return {"log": ["a", "a"]}

    app = one(work, async_client, lease_ttl=2)
    await app.ainvoke(NEW, config())
    assert agree(app, client) == "aa"


def test_a_step_that_lost_its_lease_records_nothing(client):
    @workspace_node
    def work(state: State, workspace):
        workspace.write("log.txt", "a")
        client.end_lease(client.lease_holder().token)
        workspace.write("log.txt", "aa")

    app = one(work, client)
    with pytest.raises(LeaseLost):
        app.invoke(NEW, config())
    assert client.read_text("log.txt") == "a", "it could not be undone any more"
    app = one(step("n"), client)
    app.invoke(NEW, config())
    assert agree(app, client) == "n", "and is before the next run"


async def test_a_run_that_is_cancelled_frees_the_workspace_and_leaves_no_trace(client, async_client):
    begun = asyncio.Event()

    @workspace_node
    async def work(state: State, workspace):
        await workspace.write("log.txt", "half")
        begun.set()
        await asyncio.sleep(3600)

    app = one(work, async_client)
    running = asyncio.create_task(app.ainvoke(NEW, config()))
    await begun.wait()
    running.cancel()
    with pytest.raises(asyncio.CancelledError):
        await running
    assert (client.lease_holder(), text(client)) == (None, "")


def processes(mark):
    """Those whose command line has a mark."""
    found = []
    for each in Path("/proc").glob("[0-9]*/cmdline"):
        with suppress(OSError):  # it has ended
            if mark.encode() in each.read_bytes():
                found.append(each)
    return found


async def test_a_command_ends_with_the_run_that_is_cancelled(client, async_client):
    mark = f"3600.{os.getpid()}"

    @workspace_node
    async def work(state: State, workspace):
        await workspace.exec(f"echo half > log.txt; sleep {mark}", timeout=300)

    running = asyncio.create_task(one(work, async_client).ainvoke(NEW, config()))
    while not processes(mark):
        await asyncio.sleep(0.01)
    running.cancel()
    with pytest.raises(asyncio.CancelledError):
        await running
    for _ in range(2_000):  # far less than the command takes
        if not processes(mark):
            break
        await asyncio.sleep(0.01)
    assert processes(mark) == []
    assert text(client) == ""


async def test_a_step_in_a_thread_that_outlives_its_run_is_undone(client, async_client):
    begun, go_on = threading.Event(), threading.Event()

    @workspace_node
    def work(state: State, workspace):
        workspace.write("log.txt", "half")
        begun.set()
        go_on.wait()

    app = one(work, client, async_client=async_client)
    running = asyncio.create_task(app.ainvoke(NEW, config()))
    await asyncio.to_thread(begun.wait)
    running.cancel()
    with pytest.raises(asyncio.CancelledError):
        await running
    again = asyncio.create_task(app.ainvoke(NEW, config()))
    await asyncio.sleep(0.01)
    begun.clear()
    go_on.set()  # from here on both steps end
    await again
    assert [each.step for each in client.references()] == ["langgraph-trove"] * 2
    ref = app.get_state(config()).values["workspace"]
    assert client.diff(ref["reference"]) == []


async def test_more_steps_than_threads_take_turns(client, async_client):
    nodes = [step(letter) if letter < "n" else astep(letter) for letter in "abcdefghijklmnopqrst"]
    app = bound(wide(astep("0"), *nodes, last=astep("1")), InMemorySaver(), client, async_client=async_client)
    await app.ainvoke(NEW, config())
    assert sorted(agree(app, client)) == sorted("01abcdefghijklmnopqrst")


async def test_turns_are_for_threads_and_tasks_alike_and_can_be_given_up():
    turns, order = Turns(), []

    async def task(name):
        async with turns.amine():
            order.append(name)

    def thread(name):
        with turns.mine():
            order.append(name)

    with turns.mine():
        waiting = [asyncio.create_task(task("a")), asyncio.create_task(task("given up"))]
        await asyncio.sleep(0)
        other = asyncio.create_task(asyncio.to_thread(thread, "b"))
        while len(turns._waiting) < 3:
            await asyncio.sleep(0)
        waiting.append(asyncio.create_task(task("c")))
        await asyncio.sleep(0)
        waiting[1].cancel()
        assert order == []
    await asyncio.gather(*waiting, other, return_exceptions=True)
    assert order == ["a", "b", "c"]
    with turns.mine():
        order.append("free again")
    assert order[-1] == "free again"
