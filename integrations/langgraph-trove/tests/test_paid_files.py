"""Nodes that cost money in graphs whose files follow their checkpoints: both are right, and neither is done twice."""

import asyncio
import contextlib
import copy

import pytest
from langgraph.checkpoint.memory import InMemorySaver
from langgraph.graph import END, START, StateGraph
from langgraph.types import RetryPolicy

from langgraph_trove import PaidNode, workspace_node
from trove_agents import TroveNotFoundError, TroveServerError
from trove_agents.guard import AlreadyPaid, NotCharged, PaymentInDoubt

from .graphs import FILE, Crash, State, agree, before, bound, config, line, step, text, wide

NEW = {"log": []}


@pytest.fixture
def charged():
    """The vendor's books: who paid, in their order."""
    return []


@pytest.fixture(params=[False, True], ids=["threads", "asyncio"])
def asynchronous(request):
    return request.param


@pytest.fixture
def paid(guard, charged, asynchronous):
    """``paid(name, files)``: a node that writes files, pays, and adds its name to the log."""

    def make(name, files=None, then=None, **options):
        given = {f"{name}.txt": f"a page of {name}"} if files is None else files

        def buy():
            if then and isinstance(then[0], NotCharged):
                raise then.pop(0)
            charged.append(name)
            if then:
                raise then.pop(0)
            return {"log": [name]} if FILE in given else {}

        def threads(state: State, workspace):
            for path, content in given.items():
                workspace.write(path, text(workspace) + name if path == FILE else content)
            return buy()

        async def tasks(state: State, workspace):
            for path, content in given.items():
                await workspace.write(path, await atext(workspace) + name if path == FILE else content)
            return buy()

        node = PaidNode(
            workspace_node(tasks if asynchronous else threads), "0.3", guard=guard, tool=name, **options
        )
        node.__name__ = name
        return node

    return make


async def atext(workspace):
    try:
        return await workspace.read_text(FILE)
    except TroveNotFoundError:
        return ""


@pytest.fixture
def app_of(client, async_client, saver, asynchronous):
    """``app_of(builder)``: a graph that is bound, and ``run(given, config)``."""

    def make(builder):
        app = bound(builder, saver, client, async_client=async_client if asynchronous else None)
        if not asynchronous:
            return app, app.invoke
        return app, lambda *given, **options: asyncio.run(app.ainvoke(*given, **options))

    return make


def remembered(saver):
    """What is stored now, to be set again: as if the process had died before anything later was."""
    kept = {name: copy.deepcopy(getattr(saver, name)) for name in ("storage", "writes", "blobs")}
    return lambda: [setattr(saver, name, each) for name, each in kept.items()]


LOG = {FILE: None}


@pytest.mark.parametrize("files", [LOG, {"p.txt": "a page"}], ids=["a file of all", "its own"])
def test_a_crash_after_the_charge_and_before_the_checkpoint(
    client, saver, paid, app_of, charged, numbers, files
):
    app, run = app_of(line(step("a"), paid("p", files), step("b")))
    run(NEW, config(), interrupt_before=["p"])
    forget = remembered(saver)
    run(None, config())
    done = agree(app, client)
    forget()
    run(None, config())
    assert agree(app, client) == done
    assert [client.read_text(path) for path in files if path != FILE] == [*filter(None, files.values())]
    assert (charged, numbers()) == (["p"], ("0.3", "0", "0"))


def test_attempts_that_fail_before_the_charge_and_after_it(client, paid, app_of, charged, numbers):
    """Of the first the files are undone, of the second too, and what was paid for is there in the third."""
    fails = [True]

    def choose(state):
        if fails:
            fails.pop()
            raise TroveServerError("broken")
        return "b"

    policy = RetryPolicy(initial_interval=0.001, retry_on=(NotCharged, TroveServerError))
    builder = StateGraph(State).add_node("a", step("a")).add_node("b", step("b")).add_edge(START, "a")
    builder.add_node("p", paid("p", LOG, [NotCharged()]), retry_policy=policy).add_edge("a", "p")
    builder.add_conditional_edges("p", choose, ["b"]).add_edge("b", END)
    app, run = app_of(builder)
    run(NEW, config())
    assert agree(app, client) == "apb"
    assert (charged, numbers(), fails) == (["p"], ("0.3", "0", "0"), [])


def test_time_travel_to_before_the_payment(client, paid, app_of, charged, numbers):
    app, run = app_of(line(step("a"), paid("p"), step("b")))
    run(NEW, config())
    for node in ("p", "a"):
        run(None, before(app, node))
        assert (agree(app, client), client.read_text("p.txt")) == ("ab", "a page of p")
    assert (charged, numbers()) == (["p"], ("0.3", "0", "0"))


def test_on_a_branch_of_its_own(client, paid, app_of, charged, numbers):
    app, run = app_of(line(step("a"), paid("p", {"p.txt": "a page", "new/q.txt": "another"}), step("b")))
    run(NEW, config())
    found = run(None, before(app, "p"), keep_both=True)
    branch = client.for_namespace(found["workspace"]["namespace"])
    assert branch.namespace != client.namespace
    assert (agree(app, client), branch.read_text("p.txt"), branch.read_text("new/q.txt")) == (
        "ab",
        "a page",
        "another",
    )
    assert (charged, numbers()) == (["p"], ("0.3", "0", "0"))


def test_beside_one_another(client, paid, app_of, asynchronous, charged, numbers):
    crashes = {"x": 0 if asynchronous else 1}  # which would cancel those beside it
    app, run = app_of(wide(step("a"), paid("p"), paid("q"), step("x", crashes), last=step("b")))
    with contextlib.nullcontext() if asynchronous else pytest.raises(Crash):
        run(NEW, config())
    run(None, config())
    run(None, before(app, "p"))
    assert sorted(agree(app, client)) == list("abx")
    assert (client.read_text("p.txt"), client.read_text("q.txt")) == ("a page of p", "a page of q")
    assert (sorted(charged), numbers()) == (["p", "q"], ("0.6", "0", "0"))


def test_in_a_graph_within_a_graph(client, paid, app_of, charged, numbers):
    crashes = {"y": 1}
    inner = line(paid("p", LOG), step("y", crashes)).compile()
    inner.__name__ = "inner"
    app, run = app_of(line(inner, step("b")))
    with pytest.raises(Crash):
        run(NEW, config())
    run(None, config())
    assert agree(app, client) == "pyb"
    run(None, before(app, "inner"))
    assert agree(app, client) == "pyb"
    assert (charged, numbers()) == (["p"], ("0.3", "0", "0"))


def test_a_charge_without_a_word_is_in_doubt_and_its_files_are_undone(client, paid, app_of, charged, numbers):
    app, run = app_of(line(step("a"), paid("p", LOG, [Crash()]), step("b")))
    with pytest.raises(Crash):
        run(NEW, config())
    with pytest.raises(PaymentInDoubt):
        run(None, config())
    assert agree(app, client) == "a"
    assert (charged, numbers()) == (["p"], ("0", "0", "0.3"))


async def test_a_run_that_is_cancelled_while_it_pays(client, async_client, guard, numbers):
    begun = asyncio.Event()

    @workspace_node
    async def buy(state: State, workspace):
        await workspace.write(FILE, "half")
        begun.set()
        await asyncio.sleep(3600)

    node = PaidNode(buy, "0.3", guard=guard)
    node.__name__ = "buy"
    app = bound(line(node), InMemorySaver(), async_client)
    running = asyncio.create_task(app.ainvoke(NEW, config()))
    await begun.wait()
    running.cancel()
    with pytest.raises(asyncio.CancelledError):
        await running
    assert (client.lease_holder(), text(client), numbers()) == (None, "", ("0", "0", "0.3"))
    with pytest.raises(PaymentInDoubt):
        await app.ainvoke(None, config())


def drafts():
    """A node that writes another draft each time."""
    numbers = iter(range(9))

    @workspace_node
    def draft(state: State, workspace):
        workspace.write("draft.txt", f"draft {next(numbers)}")
        return {}

    return draft


@pytest.mark.parametrize(
    "work", ["echo mine > draft.txt", "rm -r old", "chmod +x old/file", "ln -s old/file new"]
)
def test_what_cannot_be_made_again_is_left_alone_and_told(client, saver, guard, charged, work):
    """A file that is another by now, a directory that may be, and modes and links."""

    @workspace_node
    def buy(state: State, workspace):
        charged.append(workspace.exec(work))
        return {}

    client.write("old/file", "x")
    told = []
    options = {"guard": guard, "refused": lambda error: told.append(type(error))}
    node = PaidNode(buy, "0.3", **options)
    node.__name__ = "p"
    app = bound(line(drafts(), node), saver, client)
    app.invoke(NEW, config())
    app.invoke(None, before(app, "p"))
    assert (len(charged), told) == (1, [])
    app.invoke(None, before(app, "draft"))
    assert (len(charged), told, client.read_text("draft.txt")) == (1, [AlreadyPaid], "draft 1")
    assert client.diff(app.get_state(config()).values["workspace"]["reference"]) == []


@pytest.mark.parametrize(
    ("work", "others"),
    [
        ("mkdir new", "echo mine > new"),
        ("echo paid > new", "mkdir new; echo mine > new/file"),
        ("mkdir new; echo paid > new/file", "echo mine > new"),
        ("rm old", "rm old; mkdir old"),
        ("rm old; mkdir old; echo paid > old/file", "echo mine > new"),
        ("echo paid > new", "ln -s /etc/hostname new"),
    ],
)
def test_where_something_of_another_kind_is_there_it_is_left_alone_and_told(
    client, saver, guard, numbers, work, others
):
    runs, told = [], []

    @workspace_node
    def draft(state: State, workspace):
        workspace.write("draft.txt", f"draft {len(runs)}")
        if runs:
            workspace.exec(others)
        runs.append(1)
        return {}

    @workspace_node
    def buy(state: State, workspace):
        workspace.exec(work)
        return {}

    client.write("old", "x")
    node = PaidNode(buy, "0.3", guard=guard, refused=lambda error: told.append(type(error)))
    node.__name__ = "p"
    app = bound(line(draft, node), saver, client)
    app.invoke(NEW, config())
    app.invoke(None, before(app, "draft"))
    assert (len(runs), told, numbers()) == (2, [AlreadyPaid], ("0.3", "0", "0"))
    left = client.exec("cat new new/file old old/file 2>/dev/null; true")
    assert "paid" not in left
    assert ("mine" in left) == ("mine" in others)


def test_what_was_dropped_since(client, saver, guard):
    @workspace_node
    def buy(state: State, workspace):
        workspace.write("p.txt", "a page")
        return {}

    node = PaidNode(buy, "0.3", guard=guard)
    node.__name__ = "p"
    app = bound(line(step("a"), node), saver, client)
    app.invoke(NEW, config(), interrupt_before=["p"])
    forget = remembered(saver)
    app.invoke(None, config())
    forget()
    client.delete_reference(next(client.references()).reference_id)
    with pytest.raises(AlreadyPaid):
        app.invoke(None, config())
