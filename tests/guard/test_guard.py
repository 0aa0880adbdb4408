"""The guard on the real wallet service: every ending of a tool, and what a repetition of its key finds."""

import asyncio
from decimal import Decimal

import pytest

from trove_agents import BudgetExceededError, TroveConnectionError, TroveError
from trove_agents.embedded import Trove
from trove_agents.guard import (
    AlreadyPaid,
    Guard,
    NotCharged,
    PaymentConflict,
    PaymentInDoubt,
    SqliteJournal,
)


@pytest.fixture(scope="module")
def wallets():
    with Trove.temporary() as trove:
        yield trove.wallets()


@pytest.fixture
def wallet(wallets, request):
    return wallets.create_wallet(request.node.name, "Bot", 1).id


@pytest.fixture
def journal(tmp_path):
    opened = SqliteJournal(tmp_path / "journal.db")
    yield opened
    opened.close()


@pytest.fixture
def guard(wallets, wallet, journal):
    return Guard(wallets, wallet, journal=journal)


class Numbers:
    def __init__(self, wallets, wallet):
        self.wallets, self.wallet = wallets, wallet

    def __call__(self):
        found = self.wallets.balance(self.wallet)
        return tuple(str(each) for each in (found.total_spent, found.held_usd, found.in_doubt_usd))


@pytest.fixture
def numbers(wallets, wallet):
    return Numbers(wallets, wallet)


def state(guard, key="k"):
    return guard._journal.find(guard._wallet_id, key).state


def test_the_price_is_held_while_the_tool_runs_and_captured_after_it(guard, numbers):
    with guard.authorize("0.30", key="k", tool="search", vendor="acme"):
        assert numbers() == ("0", "0.3", "0")
        assert state(guard) == "running"
    assert numbers() == ("0.3", "0", "0")
    assert state(guard) == "captured"


def test_a_metered_tool_pays_what_it_did_cost_and_nothing_when_that_is_nothing(guard, numbers):
    with guard.authorize("0.30", key="k") as payment:
        payment.capture("0.1")
    assert numbers() == ("0.1", "0", "0")
    with guard.authorize("0.30", key="l") as payment:
        payment.capture(0)
    assert numbers() == ("0.1", "0", "0")
    assert state(guard, "l") == "voided"


@pytest.mark.parametrize(("actual", "error"), [("0.31", ValueError), (0.1, TypeError), (None, TypeError)])
def test_a_cost_that_cannot_be_captured_is_in_doubt(guard, numbers, actual, error):
    with pytest.raises(error), guard.authorize("0.30", key="k") as payment:
        payment.capture(actual)
    assert numbers() == ("0", "0", "0.3")


@pytest.mark.parametrize(
    "error",
    [TimeoutError, RuntimeError, ConnectionResetError, KeyboardInterrupt, SystemExit, asyncio.CancelledError],
)
def test_an_exception_leaves_the_payment_in_doubt(guard, numbers, error):
    with pytest.raises(error), guard.authorize("0.30", key="k"):
        raise error
    assert numbers() == ("0", "0", "0.3")
    assert [entry.key for entry in guard.doubts()] == ["k"]
    assert guard.in_doubt_usd() == Decimal("0.3")
    with pytest.raises(PaymentInDoubt, match="resolve"), guard.authorize("0.30", key="k"):
        pytest.fail("ran again")
    assert guard.recover() == []


def test_not_charged_gives_the_money_back_and_the_key_may_be_tried_again(guard, numbers):
    with pytest.raises(NotCharged), guard.authorize("0.30", key="k"):
        raise NotCharged
    assert (numbers(), state(guard)) == (("0", "0", "0"), "voided")
    assert guard.pay(lambda: 5, "0.30", key="k").result == 5
    assert numbers() == ("0.3", "0", "0")


def test_a_tools_own_classification_decides_unless_it_fails(guard, numbers):
    refused = lambda error: isinstance(error, ConnectionRefusedError)
    with pytest.raises(ConnectionRefusedError), guard.authorize("0.30", key="k", not_charged=refused):
        raise ConnectionRefusedError
    assert numbers() == ("0", "0", "0")
    with pytest.raises(TimeoutError), guard.authorize("0.30", key="l", not_charged=refused):
        raise TimeoutError
    with pytest.raises(TimeoutError), guard.authorize("0.30", key="m", not_charged=lambda error: 1 / 0):
        raise TimeoutError
    assert numbers() == ("0", "0", "0.6")


def test_over_the_budget_nothing_is_held_and_the_error_is_the_wallets(guard, numbers):
    with pytest.raises(BudgetExceededError) as refused, guard.authorize("1.01", key="k"):
        pytest.fail("ran")
    assert refused.value.remaining_usd == 1
    assert (numbers(), state(guard)) == (("0", "0", "0"), "denied")


@pytest.mark.parametrize("price", [0.1, None, float("nan"), True, "NaN", "-1", 0, "0.0000001"])
def test_what_is_no_price_is_refused_with_nothing_held(guard, numbers, journal, price):
    with pytest.raises((TypeError, ValueError)), guard.authorize(price, key="k"):
        pytest.fail("ran")
    assert numbers() == ("0", "0", "0")
    assert journal.find(guard._wallet_id, "k") is None


def test_the_same_key_gives_the_same_result_and_runs_nothing(guard, numbers):
    runs = []
    tool = lambda: runs.append(1) or {"n": len(runs)}
    first = guard.pay(tool, "0.30", key="k", tool="t", arguments={"q": 1})
    again = guard.pay(tool, "0.30", key="k", tool="t", arguments={"q": 1})
    assert (first.result, first.repeated, again.result, again.repeated) == ({"n": 1}, False, {"n": 1}, True)
    assert (runs, numbers(), again.entry.settle_micros) == ([1], ("0.3", "0", "0"), 300_000)
    with pytest.raises(AlreadyPaid), guard.authorize("0.30", key="k", tool="t", arguments={"q": 1}):
        pytest.fail("ran")
    for named in ({"tool": "u"}, {"tool": "t", "arguments": {"q": 2}}, {"tool": "t", "vendor": "v"}):
        with pytest.raises(PaymentConflict):
            guard.pay(tool, "0.30", key="k", **named)
    with pytest.raises(PaymentConflict):
        guard.pay(tool, "0.31", key="k", tool="t", arguments={"q": 1})
    assert (runs, numbers()) == ([1], ("0.3", "0", "0"))


@pytest.mark.parametrize("result", [object(), "x" * 1_000_000])
def test_a_result_that_cannot_be_kept_is_paid_and_not_run_again(guard, result):
    assert guard.pay(lambda: result, "0.1", key="k").result is result
    again = guard.pay(lambda: pytest.fail("ran"), "0.1", key="k")
    assert (again.result, again.repeated, again.entry.state) == (None, True, "captured")


@pytest.mark.parametrize(
    ("outcome", "ended", "spent"), [("charged", "captured", "0.3"), ("not-charged", "voided", "0")]
)
def test_a_person_says_how_a_payment_in_doubt_ended(guard, numbers, outcome, ended, spent):
    with pytest.raises(TimeoutError), guard.authorize("0.30", key="k"):
        raise TimeoutError
    with pytest.raises(ValueError, match="outcome|was"):
        guard.resolve("k", "perhaps")
    assert guard.resolve("k", outcome).state == ended
    assert numbers() == (spent, "0", "0")
    with pytest.raises(ValueError, match="in doubt"):
        guard.resolve("k", outcome)


def test_while_a_payment_runs_its_key_is_refused(guard, numbers):
    with guard.authorize("0.30", key="k"), pytest.raises(PaymentInDoubt, match="under way"):
        guard.pay(lambda: pytest.fail("ran"), "0.30", key="k")
    assert numbers() == ("0.3", "0", "0")


def test_a_payment_that_recover_took_for_left_behind_ends_as_it_does(guard, numbers):
    with guard.authorize("0.30", key="k"):
        assert [entry.state for entry in guard.recover()] == ["in_doubt"]
    assert (numbers(), state(guard)) == (("0.3", "0", "0"), "captured")


class Lossy:
    """Does what it is asked, or not, and loses the answer, once per kind of call."""

    def __init__(self, wallets, lose, *, does=True):
        self.wallets, self.lose, self.does = wallets, lose, does

    def __getattr__(self, name):
        def call(*args, **named):
            lost = name in self.lose
            self.lose.discard(name)
            if not lost or self.does:
                answer = getattr(self.wallets, name)(*args, **named)
            if lost:
                raise TroveConnectionError("lost", may_have_committed=True)
            return answer

        return call

    def with_idempotency_key(self, key):
        return Lossy(self.wallets.with_idempotency_key(key), self.lose, does=self.does)


@pytest.mark.parametrize("does", [True, False])
def test_a_lost_answer_to_a_hold_is_given_back_and_the_key_may_be_tried_again(
    wallets, wallet, journal, numbers, does
):
    guard = Guard(Lossy(wallets, {"hold"}, does=does), wallet, journal=journal)
    with pytest.raises(TroveConnectionError):
        guard.pay(lambda: pytest.fail("ran"), "0.30", key="k")
    assert numbers() == ("0", "0.3" if does else "0", "0")
    assert guard.pay(lambda: 1, "0.30", key="k").result == 1
    assert numbers() == ("0.3", "0", "0")


@pytest.mark.parametrize("does", [True, False])
@pytest.mark.parametrize("by", ["recover", "repetition"])
def test_a_lost_answer_to_a_capture_does_not_lose_the_result(wallets, wallet, journal, numbers, does, by):
    guard = Guard(Lossy(wallets, {"capture"}, does=does), wallet, journal=journal)
    assert guard.pay(lambda: 1, "0.30", key="k").result == 1
    assert state(guard) == "settling"
    if by == "recover":
        assert [entry.state for entry in guard.recover()] == ["captured"]
    else:
        assert guard.pay(lambda: pytest.fail("ran"), "0.30", key="k").result == 1
    assert (numbers(), state(guard)) == (("0.3", "0", "0"), "captured")


def test_a_hold_that_somebody_gave_back_meanwhile_is_loud_and_in_doubt(guard, wallets):
    with pytest.raises(TroveError, match="void"), guard.authorize("0.30", key="k") as payment:
        wallets.void(payment.entry.hold_id)
    assert state(guard) == "in_doubt"
