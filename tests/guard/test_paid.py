"""Paid functions: their keys, and what a repetition of a stretch of work finds."""

from contextlib import suppress
from decimal import Decimal

import pytest

from trove_agents import Step
from trove_agents.guard import (
    AlreadyPaid,
    ApprovalNeeded,
    AsyncGuard,
    Guard,
    Metered,
    NotCharged,
    PaymentConflict,
    ask_above,
    paid,
    paying_for,
)


@pytest.fixture
def guard(wallet, journal):
    return Guard(wallet, journal=journal)


@pytest.fixture
def runs():
    return []


def test_a_stretch_of_work_repeated_is_paid_once(guard, numbers, runs):
    @paid("0.1", guard=guard, vendor="acme")
    def search(query, *, limit=3):
        """Searches."""
        runs.append((query, limit))
        return [query] * limit

    for _ in range(2):
        with paying_for("run-1/step-1", step=Step(run="run-1")):
            assert search("a") == ["a", "a", "a"]
            assert search("a", limit=3) == ["a", "a", "a"]  # the same call a second time is another payment
            assert search("b", limit=1) == ["b"]
    assert (runs, numbers()) == ([("a", 3), ("a", 3), ("b", 1)], ("0.3", "0", "0"))
    with paying_for("run-1/step-2"):
        done = search.pay("a")
    assert (done.result, done.receipt.charged_usd, done.receipt.tool) == (["a"] * 3, Decimal("0.1"), "search")
    assert (search.__name__, search.__doc__) == ("search", "Searches.")


def test_without_a_key_nothing_runs(guard, runs):
    search = paid("0.1", guard=guard)(lambda query: runs.append(query))
    with pytest.raises(LookupError, match="paying_for"):
        search("a")
    assert runs == []


def test_a_key_of_its_own_and_the_fields_that_make_the_payment(guard, numbers, runs):
    @paid(
        lambda given: given["units"] * Decimal("0.01"),
        guard=guard,
        tool="buy",
        key=lambda given: f"order-{given['order']}",
        fields=("order", "units"),
    )
    def buy(connection, order, units):
        runs.append(connection)
        return units

    assert buy(object(), 1, 5) == 5
    assert buy(object(), 1, 5) == 5
    with pytest.raises(PaymentConflict):
        buy(object(), 1, 6)
    assert (len(runs), numbers()) == (1, ("0.05", "0", "0"))


def test_arguments_that_are_no_json_are_refused_before_anything_runs(guard, numbers):
    search = paid("0.1", guard=guard)(lambda query: pytest.fail("ran"))
    with paying_for("r"), pytest.raises(TypeError):
        search(object())
    assert numbers() == ("0", "0", "0")


def test_a_result_that_is_not_kept_says_so(guard):
    with paying_for("r"):
        assert paid("0.1", guard=guard)(lambda: {1, 2} and object)() is object
    with paying_for("r"), pytest.raises(AlreadyPaid) as before:
        paid("0.1", guard=guard)(lambda: pytest.fail("ran"))()
    assert before.value.receipt.charged_usd == Decimal("0.1")


def test_evidence_and_meters_are_those_of_the_guard(guard, numbers):
    @paid(
        Metered("0.5", lambda result: result["cost"]),
        guard=guard,
        not_charged=lambda e: isinstance(e, KeyError),
    )
    def ask(cost):
        if cost is None:
            raise KeyError
        return {"cost": cost}

    with paying_for("r"):
        with pytest.raises(KeyError):
            ask(None)
        ask("0.02")
    assert numbers() == ("0.02", "0", "0")


def test_a_person_who_says_yes_for_a_stretch(wallet, journal, numbers):
    search = paid("0.1", guard=Guard(wallet, journal=journal, policy=ask_above(0)))(lambda: 1)
    with paying_for("r"), pytest.raises(ApprovalNeeded):
        search()
    with paying_for("r", approved=True):
        assert search() == 1
    assert numbers() == ("0.1", "0", "0")


async def test_coroutine_functions(trove, journal, request, runs):
    client = trove.async_wallets()
    wallet = await client.wallet(request.node.name, budget_usd=1)
    guard = AsyncGuard(wallet, journal=journal)

    @paid("0.1", guard=guard)
    async def search(query):
        runs.append(query)
        return query

    for _ in range(2):
        with paying_for("r"):
            assert await search("a") == "a"
            assert (await search.pay("b")).result == "b"
    assert (runs, (await wallet.balance()).total_spent) == (["a", "b"], Decimal("0.2"))
    with pytest.raises(TypeError, match="Guard"):
        paid("0.1", guard=guard)(lambda: 1)
    await client.aclose()


async def test_a_guard_for_threads_pays_for_no_coroutine_function(guard):
    async def search(): ...

    with pytest.raises(TypeError, match="AsyncGuard"):
        paid("0.1", guard=guard)(search)


def test_not_charged_lets_the_same_stretch_try_again(guard, numbers, runs):
    @paid("0.1", guard=guard)
    def search():
        runs.append(1)
        if len(runs) == 1:
            raise NotCharged
        return len(runs)

    with paying_for("r"), pytest.raises(NotCharged):
        search()
    with paying_for("r"):
        assert search() == 2
    assert numbers() == ("0.1", "0", "0")


def test_a_call_that_failed_and_is_made_again_is_the_same_payment(guard, numbers, runs):
    @paid("0.1", guard=guard)
    def search():
        runs.append(1)
        if len(runs) == 1:
            raise NotCharged
        return len(runs)

    for _ in range(2):  # the second time after a crash: the retry was what was paid for
        with paying_for("r"):
            with suppress(NotCharged):
                search()
            if len(runs) == 1:
                assert search() == 2
    assert (numbers(), len(runs)) == (("0.1", "0", "0"), 2)


def test_it_is_not_mistaken_for_one_that_was_made_beside_it(guard, numbers):
    @paid("0.1", guard=guard, fields=())
    def search(ends):
        return ends()

    def first():
        assert search(lambda: "second") == "second"
        raise NotCharged

    with paying_for("r"):
        with pytest.raises(NotCharged):
            search(first)
        assert search(lambda: "first") == "first"
        assert search(lambda: "third") == "third"
    assert numbers() == ("0.3", "0", "0")
