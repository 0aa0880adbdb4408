"""What was paid on the way to each checkpoint: all of it, once, wherever the thread has been."""

import operator
from decimal import Decimal
from itertools import pairwise
from typing import Annotated

import pytest
from langgraph.checkpoint.memory import InMemorySaver
from langgraph.graph import StateGraph
from langgraph.types import Command

from langgraph_trove import PaidNode, WorkspaceState, ahistory, bind, history
from trove_agents.guard import AsyncGuard, Guard, ask_above

from .graphs import before, config


class State(WorkspaceState, total=False):
    log: Annotated[list[str], operator.add]


NEW = {"log": []}


@pytest.fixture
def wallet(trove, request):
    return trove.wallet(request.node.name[:250], budget_usd=10)


def paid(name, price, guard, failures=None, **options):
    """A node of that name, which costs something and fails as often as there are ``failures``."""

    def work(_):
        if failures:
            raise failures.pop()
        return {"log": [name]}

    return name, PaidNode(work, price, guard=guard, tool=name, **options)


def free(name):
    def work(_):
        return {"log": [name]}

    return name, work


def graph(*nodes, beside=()):
    """Nodes in line, and others beside the second of them."""
    builder, names = StateGraph(State), [name for name, _ in nodes]
    for name, node in (*nodes, *beside):
        builder.add_node(name, node)
    builder.set_entry_point(names[0])
    for first, second in pairwise(names):
        builder.add_edge(first, second)
    for name, _ in beside:
        builder.add_edge(names[0], name)
    return builder


def shown(steps):
    """From the oldest: what would run next, and what was spent on the way to it."""
    return [(*each.state.next, str(each.spent_usd)) for each in reversed(list(steps))]


def spent_in(app, guard, **options):
    return sum(each.spent_usd for each in history(app, config(), guard=guard, **options))


def test_each_step_with_what_it_cost_and_parallel_ones_together(client, saver, guard, wallet):
    nodes = [free("a"), paid("b", "0.1", guard), paid("c", "0.01", guard)]
    app = bind(graph(*nodes, beside=[paid("x", "0.5", guard)]).compile(saver), client)
    app.invoke(NEW, config())
    steps = list(history(app, config(), guard=guard))
    assert [each.spent_usd for each in steps] == [Decimal(each) for each in ("0.01", "0.6", "0", "0", "0")]
    assert sorted(each.tool for each in steps[1].payments) == ["b", "x"]
    assert spent_in(app, guard) == wallet.balance().total_spent
    assert {each.spent_usd for each in history(app, config())} == {0}, "nobody was asked"
    app.invoke(NEW, config())
    assert [each.spent_usd for each in history(app, config(), guard=guard)] == [
        each.spent_usd for each in steps
    ] * 2
    (one,) = history(app, before(app, "c"), guard=guard)
    assert one.spent_usd == Decimal("0.6")


class Lossy(InMemorySaver):
    """Dies where it would store a result."""

    dead = False

    def put_writes(self, config, writes, task_id, task_path=""):
        if self.dead:
            raise ConnectionError("gone")
        super().put_writes(config, writes, task_id, task_path)

    def put(self, config, checkpoint, metadata, new_versions):
        if self.dead:
            raise ConnectionError("gone")
        return super().put(config, checkpoint, metadata, new_versions)


def test_what_was_captured_and_then_lost_with_the_process_shows_once_it_is_written_again(
    client, guard, wallet
):
    saver = Lossy()

    def die(_):
        saver.dead = True
        return {"log": ["b"]}

    node = PaidNode(die, "0.1", guard=guard, tool="b")
    app = bind(graph(free("a"), ("b", node), free("c")).compile(saver), client)
    with pytest.raises(ConnectionError):
        app.invoke(NEW, config(), durability="sync")
    saver.dead = False
    head = next(history(app, config(), guard=guard))
    assert (head.state.next, head.spent_usd, [each.state for each in head.begun]) == (("b",), 0, ["captured"])
    assert app.invoke(None, config())["log"] == ["a", "b", "c"]
    assert shown(history(app, config(), guard=guard))[-2:] == [("c", "0.1"), ("0",)]
    assert not any(each.begun for each in history(app, config(), guard=guard))
    assert wallet.balance().total_spent == Decimal("0.1")


@pytest.mark.parametrize("again", [False, True])
def test_time_travel_shows_a_payment_where_it_was_made(client, saver, guard, wallet, again):
    on_replay = "charge_again" if again else "reuse_receipt"
    nodes = [free("a"), paid("b", "0.1", guard, on_replay=on_replay), paid("c", "0.01", guard)]
    app = bind(graph(*nodes).compile(saver), client)
    app.invoke(NEW, config())
    app.invoke(None, before(app, "b"), keep_both=True)
    assert spent_in(app, guard) == wallet.balance().total_spent == Decimal("0.21" if again else "0.11")
    assert spent_in(app, guard, branch=True) == Decimal("0.1" if again else "0")


def test_a_subgraph_pays_on_the_way_of_the_whole_and_of_its_own(client, saver, guard, wallet):
    inner = graph(paid("1", "0.1", guard), paid("2", "0.01", guard), free("3")).compile()
    app = bind(graph(free("a"), ("sub", inner), free("c")).compile(saver), client)
    app.invoke(NEW, config())
    assert shown(history(app, config(), guard=guard))[-2:] == [("c", "0.11"), ("0",)]
    below = next(
        each.config["configurable"]["checkpoint_ns"]
        for each in saver.list({"configurable": {"thread_id": "t"}})
        if each.config["configurable"]["checkpoint_ns"]
    )
    within = shown(history(app, config(checkpoint_ns=below), guard=guard))
    assert within[-3:] == [("2", "0.1"), ("3", "0.01"), ("0",)]
    assert spent_in(app, guard) == wallet.balance().total_spent


def test_a_payment_in_doubt_shows_where_it_began_and_then_on_the_way_on(client, saver, guard):
    nodes = [free("a"), paid("b", "0.1", guard, [TimeoutError("no answer")]), free("c")]
    app = bind(graph(*nodes).compile(saver), client)
    with pytest.raises(TimeoutError):
        app.invoke(NEW, config())
    head = next(history(app, config(), guard=guard))
    assert (head.state.next, head.in_doubt_usd, head.spent_usd) == (("b",), Decimal("0.1"), 0)
    assert [each.state for each in head.begun] == ["in_doubt"]
    app.invoke(NEW | {"log": ["other"]}, config(), interrupt_before=["b"])
    asked = [each for each in history(app, config(), guard=guard) if each.in_doubt_usd]
    assert [each.state.metadata["source"] for each in asked] == ["input"], "the turn that came instead"
    guard.resolve(head.begun[0].key, "charged", charged_usd="0.07")
    assert spent_in(app, guard) == Decimal("0.07")
    assert not any(each.in_doubt_usd for each in history(app, config(), guard=guard))


def test_a_payment_that_waits_for_a_yes_costs_nothing_until_then(client, saver, wallet, journal):
    guard = Guard(wallet, journal=journal, policy=ask_above("0.05"))
    app = bind(graph(free("a"), paid("b", "0.1", guard), free("c")).compile(saver), client)
    app.invoke(NEW, config())
    assert spent_in(app, guard) == 0
    app.invoke(Command(resume=True), config())
    assert shown(history(app, config(), guard=guard))[-2:] == [("c", "0.1"), ("0",)]


def test_another_threads_payments_are_its_own(client, saver, guard):
    app = bind(graph(free("a"), paid("b", "0.1", guard)).compile(saver), client, on_taken="fork")
    app.invoke(NEW, config())
    for thread in ("t-2", "ü" * 300, 't"2,'):
        app.invoke(NEW, config(thread))
        assert sum(each.spent_usd for each in history(app, config(thread), guard=guard)) == Decimal("0.1")
    assert spent_in(app, guard) == Decimal("0.1")


async def test_asyncio(trove, client, async_client, saver, journal, wallet):
    handle = await trove.async_wallets().wallet(wallet.agent_id, budget_usd=10)
    guard = AsyncGuard(handle, journal=journal)

    async def work(_):
        return {"log": ["b"]}

    node = PaidNode(work, "0.1", async_guard=guard, tool="b")
    app = bind(graph(free("a"), ("b", node)).compile(saver), client, async_client=async_client)
    await app.ainvoke(NEW, config())
    for given in (guard, Guard(wallet, journal=journal)):
        steps = [each async for each in ahistory(app, config(), guard=given)]
        assert [str(each.spent_usd) for each in steps] == ["0.1", "0", "0", "0"]
