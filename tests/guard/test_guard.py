"""The guard on the real wallet service: every ending of a tool, and what a repetition of its key finds."""

import asyncio
import pickle
import time
from contextlib import suppress
from decimal import Decimal

import pytest
from msgspec.structs import replace

from trove_agents import BudgetExceededError, Step, TroveConnectionError
from trove_agents.guard import (
    AlreadyPaid,
    ApprovalNeeded,
    Guard,
    Metered,
    NotCharged,
    PaymentConflict,
    PaymentDenied,
    PaymentInDoubt,
    UnsettledWarning,
    at_rate,
)


def test_the_price_is_held_while_the_tool_runs_and_captured_after_it(guard, numbers, state):
    with guard.authorize("0.30", key="k", tool="search", vendor="acme"):
        assert numbers() == ("0", "0.3", "0")
        assert state() == "running"
    assert numbers() == ("0.3", "0", "0")
    assert state() == "captured"


def test_a_metered_tool_pays_what_it_did_cost_and_nothing_when_that_is_nothing(guard, numbers, state):
    with guard.authorize("0.30", key="k") as payment:
        payment.capture("0.1")
    assert numbers() == ("0.1", "0", "0")
    with guard.authorize("0.30", key="l") as payment:
        payment.capture(0)
    assert numbers() == ("0.1", "0", "0")
    assert state("l") == "voided"


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


def test_not_charged_gives_the_money_back_and_the_key_may_be_tried_again(guard, numbers, state):
    with pytest.raises(NotCharged), guard.authorize("0.30", key="k"):
        raise NotCharged
    assert (numbers(), state()) == (("0", "0", "0"), "voided")
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


def test_over_the_budget_nothing_is_held_and_the_error_is_the_wallets(guard, numbers, state):
    with pytest.raises(BudgetExceededError) as refused, guard.authorize("1.01", key="k"):
        pytest.fail("ran")
    assert refused.value.remaining_usd == 1
    assert (numbers(), state()) == (("0", "0", "0"), "denied")


@pytest.mark.parametrize("price", [0.1, None, float("nan"), True, "NaN", "-1", "0.0000001"])
def test_what_is_no_price_is_refused_with_nothing_held(guard, numbers, journal, price, wallet):
    with pytest.raises((TypeError, ValueError)), guard.authorize(price, key="k"):
        pytest.fail("ran")
    assert numbers() == ("0", "0", "0")
    assert journal.find(wallet.id, "k") is None


def test_the_same_key_gives_the_same_result_and_runs_nothing(guard, numbers):
    runs = []
    tool = lambda: runs.append(1) or {"n": len(runs)}
    first = guard.pay(tool, "0.30", key="k", tool="t", arguments={"q": 1})
    again = guard.pay(tool, "0.30", key="k", tool="t", arguments={"q": 1})
    assert (first.result, first.repeated, again.result, again.repeated) == ({"n": 1}, False, {"n": 1}, True)
    assert (runs, numbers(), again.receipt.charged_usd) == ([1], ("0.3", "0", "0"), Decimal("0.3"))
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
    assert (again.result, again.kept, again.repeated, again.receipt.state) == (None, False, True, "captured")


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


def test_a_payment_that_recover_took_for_left_behind_ends_as_it_does(guard, numbers, state):
    with guard.authorize("0.30", key="k"):
        assert [entry.state for entry in guard.recover()] == ["in_doubt"]
    assert (numbers(), state()) == (("0.3", "0", "0"), "captured")


@pytest.mark.parametrize("done", [True, False])
def test_a_lost_answer_to_a_hold_is_given_back_and_the_key_may_be_tried_again(guard, road, numbers, done):
    road.lose("holds", done=done)
    with pytest.raises(TroveConnectionError):
        guard.pay(lambda: pytest.fail("ran"), "0.30", key="k")
    assert numbers() == ("0", "0.3" if done else "0", "0")
    assert guard.pay(lambda: 1, "0.30", key="k").result == 1
    assert numbers() == ("0.3", "0", "0")


@pytest.mark.parametrize("done", [True, False])
@pytest.mark.parametrize("by", ["recover", "repetition"])
def test_a_lost_answer_to_a_capture_does_not_lose_the_result(guard, road, numbers, state, done, by):
    road.lose("capture", done=done)
    assert guard.pay(lambda: 1, "0.30", key="k").result == 1
    assert state() == "settling"
    if by == "recover":
        assert [receipt.state for receipt in guard.recover()] == ["captured"]
    else:
        assert guard.pay(lambda: pytest.fail("ran"), "0.30", key="k").result == 1
    assert (numbers(), state()) == (("0.3", "0", "0"), "captured")


def test_a_doubt_that_the_wallet_does_not_hear_of_is_told_by_recover(guard, road, numbers):
    road.lose("doubt", done=False)
    with pytest.raises(TimeoutError), guard.authorize("0.30", key="k"):
        raise TimeoutError
    assert numbers() == ("0", "0.3", "0")
    assert guard.recover() == []
    assert numbers() == ("0", "0", "0.3")


def test_what_was_charged_is_booked_though_somebody_gave_the_hold_back(guard, wallets, numbers, state):
    with guard.authorize("0.30", key="k") as payment:
        wallets.void(payment.receipt.hold_id)
    assert (state(), numbers()) == ("captured", ("0.3", "0", "0"))
    assert payment.receipt.transaction_id is not None


def test_what_cannot_be_booked_is_loud_in_doubt_and_booked_when_the_budget_allows_it(
    guard, wallets, wallet, numbers, state
):
    with pytest.warns(UnsettledWarning, match="remain"), guard.authorize("0.30", key="k") as payment:
        wallets.void(payment.receipt.hold_id)
        wallets.update_wallet(wallet.id, budget_limit_usd="0.2")
    assert state() == "in_doubt"
    assert [(each.key, each.charged_usd) for each in guard.doubts()] == [("k", Decimal("0.3"))]
    assert guard.recover() == []
    wallets.update_wallet(wallet.id, budget_limit_usd=1)
    assert guard.resolve("k", "charged").state == "captured"
    assert numbers() == ("0.3", "0", "0")


@pytest.mark.parametrize(
    ("answer", "ended", "spent"),
    [("capture", "captured", "0.3"), ("void", "voided", "0"), ("write_off", "written_off", "0.3")],
)
def test_what_somebody_answered_in_the_wallet_is_taken_over(
    guard, wallets, numbers, state, answer, ended, spent
):
    with pytest.raises(TimeoutError), guard.authorize("0.30", key="k"):
        raise TimeoutError
    getattr(wallets, answer)(guard.doubts()[0].hold_id)
    assert [receipt.state for receipt in guard.recover()] == [ended]
    assert (numbers(), guard.doubts()) == ((spent, "0", "0"), [])


def test_a_payment_that_was_called_off_wrongly_is_booked_when_its_tool_ends(guard, numbers, state):
    with guard.authorize("0.30", key="k"):
        guard.recover()
        guard.resolve("k", "not-charged")
    assert (numbers(), state()) == (("0.3", "0", "0"), "captured")


def test_also_when_it_was_made_anew_meanwhile(guard, numbers, state):
    with guard.authorize("0.30", key="k"):
        guard.recover()
        guard.resolve("k", "not-charged")
        guard.pay(lambda: 1, "0.30", key="k")
    assert (numbers(), state()) == (("0.6", "0", "0"), "captured")


def test_a_write_off_is_spent_and_the_tool_is_not_run_again(guard, numbers):
    with pytest.raises(TimeoutError), guard.authorize("0.30", key="k"):
        raise TimeoutError
    assert guard.resolve("k", "write-off").state == "written_off"
    assert numbers() == ("0.3", "0", "0")
    assert guard.pay(lambda: pytest.fail("ran"), "0.30", key="k").kept is False


class Stopped(BaseException):
    """As the interrupt of a framework."""


def test_a_tool_that_waits_keeps_its_hold_and_goes_on_under_its_key(guarding, numbers, state):
    guard = guarding(signals=(Stopped,))
    with pytest.raises(Stopped), guard.authorize("0.30", key="k"):
        raise Stopped
    assert (state(), numbers()) == ("waiting", ("0", "0.3", "0"))
    assert guard.recover() == []
    assert [each.state for each in guard.doubts()] == ["waiting"]
    assert guard.pay(lambda: 7, "0.30", key="k").result == 7
    assert numbers() == ("0.3", "0", "0")


@pytest.mark.parametrize(
    ("outcome", "numbers_then"),
    [("charged", ("0.3", "0", "0")), ("not-charged", ("0", "0", "0")), ("write-off", ("0.3", "0", "0"))],
)
def test_a_tool_that_never_goes_on_is_ended_by_a_person(guarding, numbers, outcome, numbers_then):
    guard = guarding(signals=(Stopped,))
    with pytest.raises(Stopped), guard.authorize("0.30", key="k"):
        raise Stopped
    guard.resolve("k", outcome)
    assert numbers() == numbers_then


def test_a_tool_that_reports_an_error_without_raising_it(guard, numbers):
    with guard.authorize("0.30", key="k") as payment:
        payment.void()
    assert numbers() == ("0", "0", "0")
    with guard.authorize("0.30", key="l") as payment:
        payment.doubt("it said so")
        payment.keep({"status": "error"})
    assert (numbers(), guard.doubts()[0].note) == (("0", "0", "0.3"), "it said so")


def test_the_step_is_kept_with_the_hold_and_what_follows(guard, trove, wallet):
    guard.pay(lambda: 1, "0.30", key="k", step=Step(thread="t", run="r", call="c"))
    found = [event for event in trove.admin().list_events() if event.data.get("wallet_id") == wallet.id]
    assert [event.step for event in found] == [Step(thread="t", run="r", call="c")] * 2
    guard.pay(lambda: 1, "0.30", key="l", step=Step(thread="u"))
    (receipt,) = guard.receipts(thread="t")
    assert (receipt.key, receipt.step, receipt.state) == (
        "k",
        Step(thread="t", run="r", call="c"),
        "captured",
    )


def test_prices_from_arguments_and_metered_ones(guard, numbers):
    by_length = lambda arguments: at_rate("0.0001", len(arguments["text"]))
    assert guard.pay(
        lambda: 1, by_length, key="k", arguments={"text": "x" * 1000}
    ).receipt.charged_usd == Decimal("0.1")
    metered = Metered(most=by_length, cost=lambda result: result["cost"])
    paid = guard.pay(lambda: {"cost": "0.03"}, metered, key="l", arguments={"text": "x" * 1000})
    assert (paid.receipt.held_usd, paid.receipt.charged_usd) == (Decimal("0.1"), Decimal("0.03"))
    assert numbers() == ("0.13", "0", "0")


@pytest.mark.parametrize("cost", ["0.2", 0.01, None, "x"])
def test_a_metered_cost_that_makes_no_sense_is_in_doubt_and_the_result_the_callers(guard, numbers, cost):
    paid = guard.pay(lambda: {"cost": cost}, Metered("0.1", lambda result: result["cost"]), key="k")
    assert (paid.result, paid.receipt.state) == ({"cost": cost}, "in_doubt")
    assert "cost" in paid.receipt.note
    assert numbers() == ("0", "0", "0.1")


@pytest.mark.parametrize("price", [0, lambda arguments: 0, Metered(0, lambda result: 1 / 0)])
def test_what_is_free_is_run_and_nothing_is_written_down(guard, numbers, journal, wallet, price):
    paid = guard.pay(lambda: 5, price, key="k")
    assert (paid.result, paid.receipt, paid.repeated) == (5, None, False)
    assert journal.find(wallet.id, "k") is None
    with guard.authorize(price, key="k") as payment, pytest.raises(ValueError, match="more"):
        payment.capture("0.01")


@pytest.mark.parametrize(
    "price",
    [lambda a: 0.1, lambda a: None, lambda a: float("nan"), lambda a: "NaN", lambda a: 1 / 0, lambda a: -1],
)
def test_a_price_function_that_makes_no_sense_denies(guard, numbers, journal, wallet, price):
    with pytest.raises(PaymentDenied, match="price"):
        guard.pay(lambda: pytest.fail("ran"), price, key="k")
    assert (numbers(), journal.find(wallet.id, "k")) == (("0", "0", "0"), None)


def test_rates_round_up_once():
    assert at_rate("0.0000004", 1) == Decimal("0.000001")
    assert at_rate("0.0000004", 5) == Decimal("0.000002")
    assert at_rate("0.0000004", 6) == Decimal("0.000003")
    assert at_rate(Decimal(1), 0) == 0
    for rate, units in [(0.1, 1), ("1", 1.5), ("1", True)]:
        with pytest.raises(TypeError):
            at_rate(rate, units)
    for rate, units in [("NaN", 1), ("-1", 1), ("1", -1)]:
        with pytest.raises(ValueError):
            at_rate(rate, units)


def test_a_person_says_how_much_was_charged(guard, numbers):
    with pytest.raises(TimeoutError), guard.authorize("0.30", key="k"):
        raise TimeoutError
    for outcome, usd in [("charged", "0.31"), ("not-charged", "0.1"), ("write-off", "0.1")]:
        with pytest.raises(ValueError, match="charged|held"):
            guard.resolve("k", outcome, charged_usd=usd)
    assert guard.resolve("k", "charged", charged_usd="0.2").charged_usd == Decimal("0.2")
    assert numbers() == ("0.2", "0", "0")


def test_recover_leaves_alone_what_another_process_may_be_making(guard, numbers):
    with guard.authorize("0.30", key="k"):
        assert guard.recover(older_than=60) == []
        assert [receipt.key for receipt in guard.recover(older_than=0)] == ["k"]
    assert numbers() == ("0.3", "0", "0")


def test_what_its_tool_knows_is_booked_though_the_other_says_so_is_not_told_yet(guard, road, numbers, state):
    """Somebody said that nothing was charged, and the wallet has not heard of it when the tool ends."""
    with guard.authorize("0.30", key="k"):
        guard.recover()
        road.lose("void", done=False)
        with pytest.raises(TroveConnectionError):
            guard.resolve("k", "not-charged")
        assert state() == "settling"
    assert (numbers(), state()) == (("0.3", "0", "0"), "captured")


def test_also_when_it_ends_while_the_wallet_is_told(guard, wallet, journal, road, numbers, state):
    tool = Guard(wallet, journal=journal).authorize("0.30", key="k")
    tool.__enter__()
    guard.recover()
    road.meet("void", lambda: tool.__exit__(None, None, None))
    assert guard.resolve("k", "not-charged").state == "captured"
    assert (numbers(), state()) == (("0.3", "0", "0"), "captured")


def test_a_hold_without_an_answer_that_somebody_captured_is_taken_over(guard, wallets, wallet, road, state):
    road.lose("holds", done=True)
    with pytest.raises(TroveConnectionError):
        guard.pay(lambda: pytest.fail("ran"), "0.30", key="k")
    (held,) = wallets.list_holds(wallet.id)
    wallets.capture(held.id)
    assert [receipt.state for receipt in guard.recover()] == ["captured"]
    assert state() == "captured"


def test_a_hold_that_the_wallet_does_not_know_keeps_nobody_from_recovering(guard, journal, wallet, state):
    for key in ("k", "l"):
        with pytest.raises(TimeoutError), guard.authorize("0.30", key=key):
            raise TimeoutError
    there = journal.find(wallet.id, "k")
    journal.replace(there, replace(there, hold_id=10**9))
    with guard.authorize("0.30", key="m"):
        assert [receipt.key for receipt in guard.recover()] == ["m"]
    assert (state("k"), state("l"), state("m")) == ("in_doubt", "in_doubt", "captured")


class Stale:
    """A journal in which a payment is found as it was."""

    def __init__(self, inner, entry):
        self.inner, self.entry = inner, entry

    def __getattr__(self, name):
        return getattr(self.inner, name)

    def find(self, wallet_id, key):
        return self.entry


def test_a_tool_that_goes_on_meanwhile_is_not_written_off(guarding, wallet, journal, numbers):
    guard = guarding(signals=(Stopped,))
    with pytest.raises(Stopped), guard.authorize("0.30", key="k"):
        raise Stopped
    waiting = journal.find(wallet.id, "k")
    assert waiting.note == "its tool waits for somebody"
    with guard.authorize("0.30", key="k"):
        with pytest.raises(PaymentInDoubt, match="meanwhile"):
            guarding(journal=Stale(journal, waiting)).resolve("k", "write-off")
        assert numbers() == ("0", "0.3", "0")
    assert (numbers(), journal.find(wallet.id, "k").note) == (("0.3", "0", "0"), None)


def test_a_tool_that_waits_after_recover_took_it_for_left_behind_goes_on_all_the_same(guarding, numbers):
    guard = guarding(signals=(Stopped,))
    with pytest.raises(Stopped), guard.authorize("0.30", key="k"):
        assert [receipt.state for receipt in guard.recover()] == ["in_doubt"]
        raise Stopped
    assert guard.pay(lambda: 7, "0.30", key="k").result == 7
    assert numbers() == ("0.3", "0", "0")


def test_what_the_next_payment_cannot_book_is_loud_too(guard, wallets, wallet, road, state):
    road.lose("capture", done=False)
    with guard.authorize("0.30", key="k") as payment:
        pass
    wallets.void(payment.receipt.hold_id)
    wallets.update_wallet(wallet.id, budget_limit_usd="0.2")
    with pytest.warns(UnsettledWarning, match="'k'"):
        guard.pay(lambda: 1, "0.1", key="l")
    assert state() == "in_doubt"


def test_a_wallet_that_is_not_reached_denies_and_nothing_is_written_down(
    guard, road, journal, wallet, numbers
):
    road.lose("capabilities", done=False)
    with pytest.raises(TroveConnectionError):
        guard.pay(lambda: pytest.fail("ran"), "0.30", key="k")
    assert journal.find(wallet.id, "k") is None
    assert guard.pay(lambda: 1, "0.30", key="k").result == 1
    assert numbers() == ("0.3", "0", "0")


@pytest.mark.parametrize(("ends", "spent"), [(None, "0.3"), (NotCharged, "0")])
def test_a_tool_that_takes_longer_than_its_hold_ends_as_it_does(guarding, wallet, numbers, ends, spent):
    with suppress(NotCharged), guarding(hold_seconds=1).authorize("0.30", key="k"):
        while wallet.balance().held_usd:
            time.sleep(0.05)
        assert numbers() == ("0", "0", "0.3")
        if ends is not None:
            raise ends
    assert numbers() == (spent, "0", "0")


def test_errors_survive_pickle(guard):
    """Engines of durable runs keep them so."""
    guard.pay(lambda: "one", "0.1", key="k")
    with pytest.raises(AlreadyPaid) as paid, guard.authorize("0.1", key="k"):
        pass
    for error in (paid.value, PaymentInDoubt("k", "why"), ApprovalNeeded("why", None), PaymentDenied("no")):
        twin = pickle.loads(pickle.dumps(error))
        assert (type(twin), str(twin), vars(twin)) == (type(error), str(error), vars(error))
