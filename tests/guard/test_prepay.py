"""The guard on a wallet that can only be bought from: every ending of a tool and of a purchase."""

import asyncio
import logging
import re
import sqlite3
from contextlib import closing
from decimal import Decimal

import pytest

from trove_agents import AsyncWalletClient, BudgetExceededError, TroveConnectionError, Wallet, WalletClient
from trove_agents.client.drive import Reply
from trove_agents.client.wallets import AsyncWallet
from trove_agents.guard import (
    ApprovalNeeded,
    AsyncGuard,
    DoubleChargeWarning,
    EchoWarning,
    Guard,
    Metered,
    NotCharged,
    PaymentConflict,
    PaymentDenied,
    PaymentInDoubt,
    SqliteJournal,
    UnsettledWarning,
    ask_above,
)

from .conftest import AsyncThrough, Blocking, Road, Through
from .plain import AsyncPlain, Plain, adds_up
from .test_asyncio import Slow

THIRD = Decimal("0.3")


def ran():
    pytest.fail("ran")


def said(caplog):
    """By guards: OpenTelemetry, which other tests set up and shut down, logs too."""
    return [record for record in caplog.records if record.name == "trove_agents.guard"]


@pytest.fixture
def plain():
    return Plain()


@pytest.fixture(params=["threads", "asyncio"])
def guarding(request, plain, journal, road):
    """Makes guards of the plain wallet; all that was bought adds up at the end."""
    common = {"journal": journal, "quiet_seconds": 0}
    number = plain.wallet["id"]
    if request.param == "threads":
        client = WalletClient("tvpk_1", transport=Through(plain, road))
        yield lambda **named: Guard(Wallet(client, number, "bot"), **common | named)
    else:
        with asyncio.Runner() as runner:
            client = AsyncWalletClient("tvpk_1", transport=AsyncThrough(AsyncPlain(plain), road))
            handle = AsyncWallet(client, number, "bot")
            yield lambda **named: Blocking(AsyncGuard(handle, **common | named), runner)


@pytest.fixture
def guard(guarding):
    return guarding()


@pytest.fixture
def state(journal, plain):
    return lambda key="k": journal.find(plain.wallet["id"], key).state


def test_the_price_is_bought_before_the_tool_runs_with_a_tag_and_words_for_people(guard, plain, journal):
    with guard.authorize("0.30", key="k", tool="search", vendor="acme") as payment:
        assert plain.spent == THIRD
    assert payment.receipt.state == "captured"
    (bought,) = plain.bought
    assert re.fullmatch(rf"search \[trove {journal.id}-[0-9a-f]{{16}}\]", bought["description"])
    assert (bought["vendor"], bought["id"]) == ("acme", payment.receipt.transaction_id)
    assert guard.credit_usd() == 0
    adds_up(journal, plain)


def test_what_holds_there_is_a_value_and_said_once(guarding, caplog, plain):
    caplog.set_level(logging.INFO, "trove_agents.guard")
    guard = guarding()
    found = guard.guarantees()
    guard.pay(lambda: 1, "0.1", key="k")
    guard.pay(lambda: 1, "0.1", key="l")
    assert (found.mode, found.hard_cap, found.once_per_journal) == ("prepay", True, True)
    assert not (found.exact_metering or found.refunds or found.doubts_in_wallet or found.approvals)
    assert "credit in this journal" in str(found)
    assert [record.getMessage() for record in said(caplog)] == [f"prepay: {found}"]
    assert plain.calls("capabilities") == 1


def test_of_a_metered_tool_the_most_is_bought_and_the_rest_pays_for_a_later_one(guard, plain, journal):
    metered = Metered("0.30", lambda cost: cost)
    paid = guard.pay(lambda: "0.1", metered, key="k")
    assert (paid.receipt.charged_usd, plain.spent, guard.credit_usd()) == (
        Decimal("0.1"),
        THIRD,
        Decimal("0.2"),
    )
    guard.pay(lambda: 1, "0.21", key="more than the credit")
    assert (plain.spent, guard.credit_usd()) == (Decimal("0.51"), Decimal("0.2"))
    guard.pay(lambda: 1, "0.15", key="less")
    assert (plain.spent, guard.credit_usd()) == (Decimal("0.51"), Decimal("0.05"))
    guard.pay(lambda: 1, "0.05", key="all of it")
    assert (plain.spent, guard.credit_usd()) == (Decimal("0.51"), 0)
    adds_up(journal, plain)


def test_what_was_not_charged_is_credit_and_pays_when_the_key_is_tried_again(guard, plain, state, journal):
    with pytest.raises(NotCharged), guard.authorize("0.30", key="k"):
        raise NotCharged
    assert (state(), plain.spent, guard.credit_usd()) == ("voided", THIRD, THIRD)
    assert guard.pay(lambda: 5, "0.30", key="k").result == 5
    assert (state(), plain.spent, guard.credit_usd()) == ("captured", THIRD, 0)
    adds_up(journal, plain)


@pytest.mark.parametrize("error", [TimeoutError, KeyboardInterrupt, asyncio.CancelledError])
def test_an_exception_leaves_the_charge_and_a_doubt(guard, plain, journal, error):
    with pytest.raises(error), guard.authorize("0.30", key="k"):
        raise error
    assert (plain.spent, guard.credit_usd(), guard.in_doubt_usd()) == (THIRD, 0, THIRD)
    assert guard.recover() == []
    with pytest.raises(PaymentInDoubt, match="resolve"):
        guard.pay(ran, "0.30", key="k")
    adds_up(journal, plain)


@pytest.mark.parametrize(
    ("outcome", "named", "ended", "credit"),
    [
        ("charged", {}, "captured", "0"),
        ("charged", {"charged_usd": "0.1"}, "captured", "0.2"),
        ("not-charged", {}, "voided", "0.3"),
        ("write-off", {}, "written_off", "0"),
    ],
)
def test_a_person_says_how_it_ended(guard, plain, journal, outcome, named, ended, credit):
    with pytest.raises(TimeoutError), guard.authorize("0.30", key="k"):
        raise TimeoutError
    assert guard.resolve("k", outcome, **named).state == ended
    assert (plain.spent, guard.credit_usd()) == (THIRD, Decimal(credit))
    adds_up(journal, plain)


def test_over_the_budget_nothing_is_bought(guard, plain, state):
    with pytest.raises(BudgetExceededError):
        guard.pay(ran, "1.01", key="k")
    assert (plain.bought, state()) == ([], "denied")


def test_the_same_key_gives_the_same_result_and_buys_nothing(guard, plain):
    assert guard.pay(lambda: {"n": 1}, "0.30", key="k", tool="t").repeated is False
    again = guard.pay(ran, "0.30", key="k", tool="t")
    assert (again.result, again.repeated, plain.spent) == ({"n": 1}, True, THIRD)
    with pytest.raises(PaymentConflict):
        guard.pay(ran, "0.31", key="k", tool="t")


def test_a_purchase_whose_answer_is_lost_is_found_and_the_tool_runs(guard, plain, road, state, journal):
    road.lose("purchase", done=True)
    assert guard.pay(lambda: 1, "0.30", key="k").result == 1
    plain.service.lost = 1  # as a proxy answers in place of the wallet
    assert guard.pay(lambda: 2, "0.30", key="l").result == 2
    assert (plain.spent, state(), state("l")) == (2 * THIRD, "captured", "captured")
    adds_up(journal, plain)


def test_not_found_is_not_bought_only_after_a_quiet_time(guarding, plain, road, state, journal):
    early, late = guarding(quiet_seconds=3600), guarding()
    road.lose("purchase", done=False)
    with pytest.raises(TroveConnectionError):
        early.pay(ran, "0.30", key="k")
    assert state() == "settling"
    with pytest.raises(PaymentInDoubt, match="looked for again after"):
        early.pay(ran, "0.30", key="k")
    assert early.recover() == []
    assert early.pay(lambda: 2, "0.1", key="another").result == 2
    assert (state(), plain.spent) == ("settling", Decimal("0.1"))
    assert [receipt.state for receipt in late.recover()] == ["denied"]
    assert late.pay(lambda: 1, "0.30", key="k").result == 1
    assert plain.spent == Decimal("0.4")
    adds_up(journal, plain)


def test_what_comes_within_the_quiet_time_is_credit_and_pays_for_the_same_key(
    guarding, plain, road, state, journal
):
    guard = guarding(quiet_seconds=3600)
    description = tagged(guard, plain, road)
    plain.buys("0.3", description)
    assert [receipt.state for receipt in guard.recover()] == ["voided"]
    assert guard.credit_usd() == THIRD
    assert guard.pay(lambda: 1, "0.30", key="k").result == 1
    assert (plain.spent, guard.credit_usd()) == (THIRD, 0)
    adds_up(journal, plain)


def tagged(guard, plain, road):
    """Loses a purchase of the key "k" that is not made yet: the description that it will have."""
    sent, service = [], plain.service

    def lost():
        plain.service = lambda request: sent.append(request.body) or service(request)

    road.meet("purchase", lost)
    road.lose("purchase", done=True)
    spent = service.spent(plain.wallet)
    with pytest.raises(TroveConnectionError):
        road.meet("transactions", lambda: service.bought.pop())
        guard.pay(ran, "0.30", key="k")
    plain.service = service
    assert service.spent(plain.wallet) == spent
    return re.search(r'"description":"([^"]*)"', sent[0].decode())[1]


def test_what_comes_even_later_is_a_double_charge_found_kept_and_loud(guarding, plain, road, journal):
    guard = guarding()
    description = tagged(guard, plain, road)
    assert guard.pay(lambda: 1, "0.30", key="k").result == 1
    assert guard.recover() == []
    plain.buys("0.3", description)
    assert [each["description"] for each in plain.bought] == [description] * 2
    with pytest.warns(DoubleChargeWarning, match="more than once"):
        assert guard.recover() == []
    assert guard.credit_usd() == THIRD
    assert guard.recover() == []  # said once
    assert guard.pay(lambda: 2, "0.30", key="l").result == 2
    assert plain.spent == 2 * THIRD
    adds_up(journal, plain)


def test_what_a_copy_of_the_journal_bought_is_not_this_ones_credit(guarding, plain, tmp_path, journal):
    with closing(sqlite3.connect(tmp_path / "copy.db")) as file:
        journal._connection.backup(file)
    with closing(SqliteJournal(tmp_path / "copy.db")) as copy:
        assert copy.id == journal.id
        guarding(journal=copy).pay(lambda: 1, "0.30", key="there")
    guard = guarding()
    guard.pay(lambda: 1, "0.1", key="here")
    for _ in range(2):
        assert guard.recover() == []
    assert guard.credit_usd() == 0
    assert plain.calls("transactions") == 1


def test_two_purchases_of_one_lost_answer_are_seen_at_once(guard, plain, road, journal):
    twice = lambda: plain.service.bought.append(plain.bought[-1] | {"id": 99})
    road.lose("purchase", done=True)
    road.meet("transactions", twice)
    with pytest.warns(DoubleChargeWarning):
        assert guard.pay(lambda: 1, "0.30", key="k").result == 1
    assert guard.credit_usd() == THIRD
    adds_up(journal, plain)


def test_what_was_never_sent_may_be_tried_again_at_once(guarding, plain, road, state):
    guard = guarding(quiet_seconds=3600)

    def refused():
        raise TroveConnectionError("connection refused")

    road.meet("purchase", refused)
    with pytest.raises(TroveConnectionError, match="refused"):
        guard.pay(ran, "0.30", key="k")
    assert state() == "denied"
    assert guard.pay(lambda: 1, "0.30", key="k").result == 1


def test_a_lost_purchase_is_found_on_whatever_page_it_is(guarding, plain, road, journal):
    guard = guarding(quiet_seconds=3600)
    road.lose("purchase", done=True)

    def others():
        for _ in range(250):
            plain.buys("0.001")

    road.meet("transactions", others)
    assert guard.pay(lambda: 1, "0.30", key="k").result == 1
    assert plain.calls("transactions") == 3


def test_the_number_of_transactions_saves_reading_them(guarding, plain, road):
    guard = guarding(quiet_seconds=3600)
    plain.buys("0.1")
    guard.recover()
    assert plain.calls("transactions") == 1  # somebody else's
    guard.pay(lambda: 1, "0.1", key="paid")
    guard.recover()
    assert plain.calls("transactions") == 1
    road.lose("purchase", done=False)
    with pytest.raises(TroveConnectionError):
        guard.pay(ran, "0.30", key="k")
    read = plain.calls("transactions")
    guard.recover()
    assert plain.calls("transactions") == read


@pytest.mark.parametrize("factor", ["1.5", "0.5"])
def test_a_wallet_that_books_another_amount_is_believed_and_warned_of(guard, plain, journal, state, factor):
    purchase = plain.service.purchase
    plain.service.purchase = lambda wallet, body: purchase(
        wallet, body | {"amount_usd": body["amount_usd"] * Decimal(factor)}
    )
    with pytest.warns(EchoWarning, match=r"for a purchase of \$0.3"):
        if factor == "1.5":
            guard.pay(lambda: 1, "0.30", key="k")
        else:
            with pytest.raises(PaymentDenied, match=r"\$0.15"):
                guard.pay(ran, "0.30", key="k")
    assert state() == ("captured" if factor == "1.5" else "denied")
    assert guard.credit_usd() == Decimal("0.15")
    adds_up(journal, plain)


def test_a_wallet_that_keeps_no_descriptions_is_warned_of_and_never_asked_twice(guard, plain, road, state):
    purchase = plain.service.purchase
    plain.service.purchase = lambda wallet, body: purchase(wallet, body | {"description": None})
    with pytest.warns(EchoWarning, match="descriptions"):
        guard.pay(lambda: 1, "0.30", key="k")
    road.lose("purchase", done=True)
    with pytest.raises(TroveConnectionError):
        guard.pay(ran, "0.30", key="l")
    assert guard.recover() == []
    with pytest.raises(PaymentInDoubt, match="descriptions"):
        guard.pay(ran, "0.30", key="l")
    assert (state("l"), plain.spent) == ("settling", 2 * THIRD)


class Stopped(BaseException):
    """As the interrupt of a framework."""


def test_a_tool_that_waits_is_paid_once_and_goes_on(guarding, plain, state, journal):
    guard = guarding(signals=(Stopped,))
    with pytest.raises(Stopped), guard.authorize("0.30", key="k"):
        raise Stopped
    assert (state(), guard.credit_usd(), guard.recover()) == ("waiting", 0, [])
    assert guard.pay(lambda: 7, "0.30", key="k").result == 7
    assert plain.spent == THIRD
    adds_up(journal, plain)


def test_a_person_at_hand_answers_since_the_wallet_has_no_approvals(guarding, plain):
    guard = guarding(policy=ask_above(0))
    with pytest.raises(ApprovalNeeded) as needed:
        guard.pay(ran, "0.30", key="k")
    assert (needed.value.approval, plain.bought) == (None, [])
    assert guard.pay(lambda: 1, "0.30", key="k", approved=True).result == 1


def test_a_payment_that_was_called_off_wrongly_uses_its_credit_when_its_tool_ends(
    guard, plain, state, journal
):
    with guard.authorize("0.30", key="k"):
        assert [receipt.state for receipt in guard.recover()] == ["in_doubt"]
        guard.resolve("k", "not-charged")
        assert guard.credit_usd() == THIRD
    assert (state(), guard.credit_usd(), plain.spent) == ("captured", 0, THIRD)
    adds_up(journal, plain)


def test_what_tools_charged_beyond_what_was_bought_is_loud_and_bought_next(guard, plain, state, journal):
    with pytest.warns(UnsettledWarning, match=r"\$0.30 more"), guard.authorize("0.30", key="k"):
        guard.recover()
        guard.resolve("k", "not-charged")
        guard.pay(lambda: 1, "0.30", key="l")  # with its money
    assert (state(), guard.credit_usd(), plain.spent) == ("captured", -THIRD, THIRD)
    guard.pay(lambda: 1, "0.1", key="m")
    assert (guard.credit_usd(), plain.spent) == (0, Decimal("0.7"))
    adds_up(journal, plain)


def test_also_when_it_was_made_anew_meanwhile(guard, plain, state, journal):
    with pytest.warns(UnsettledWarning, match=r"\$0.30 more"), guard.authorize("0.30", key="k"):
        guard.recover()
        guard.resolve("k", "not-charged")
        guard.pay(lambda: 1, "0.30", key="k")
    assert (state(), state("k (attempt 1)")) == ("captured", "captured")
    assert (guard.credit_usd(), plain.spent) == (-THIRD, THIRD)
    adds_up(journal, plain)


@pytest.mark.parametrize("quiet_seconds", [0, 3600])
def test_what_recover_took_for_left_behind_is_not_run_and_credit(
    guard, plain, road, state, journal, quiet_seconds
):
    handle = Wallet(WalletClient("tvpk_1", transport=Through(plain, Road())), plain.wallet["id"], "bot")
    other = Guard(handle, journal=journal, quiet_seconds=quiet_seconds)
    road.meet("purchase", other.recover)
    with pytest.raises(PaymentInDoubt, match="elsewhere|else"):
        guard.pay(ran, "0.30", key="k")
    assert (plain.spent, guard.credit_usd()) == (THIRD, THIRD)
    guard.recover()
    assert state() == ("denied" if quiet_seconds == 0 else "voided")
    assert guard.pay(lambda: 1, "0.30", key="k").result == 1
    assert (plain.spent, guard.credit_usd()) == (THIRD, 0)
    adds_up(journal, plain)


class Plainly:
    """The real wallet service, behind something that lets only the public calls through."""

    retries = False

    def __init__(self, inner):
        self.inner = inner

    def send(self, request):
        if request.path == "/api/capabilities":
            return Reply(404, {}, b"")
        return self.inner.send(request)


def test_a_server_that_learns_to_hold_money_meanwhile(wallets, wallet, journal, numbers):
    key = dict(wallets._headers)["x-trove-key"]
    plainly = Wallet(WalletClient(key, transport=Plainly(wallets._transport)), wallet.id, "bot")
    before = Guard(plainly, journal=journal)
    for n in range(2):
        with pytest.raises(TimeoutError), before.authorize("0.30", key=str(n)):
            raise TimeoutError
    assert numbers() == ("0.6", "0", "0")
    now = Guard(wallet, journal=journal)
    assert now.guarantees().mode == "holds"
    assert now.recover() == []
    assert now.resolve("0", "charged").state == "captured"
    assert now.resolve("1", "not-charged").state == "voided"
    assert (numbers(), now.credit_usd()) == (("0.6", "0", "0"), THIRD)
    now.pay(lambda: 1, "0.1", key="k")
    assert numbers() == ("0.7", "0", "0")


def test_what_is_said_of_a_server_with_holds(wallet, journal, caplog):
    caplog.set_level(logging.INFO, "trove_agents.guard")
    found = Guard(wallet, journal=journal).guarantees()
    assert (found.mode, found.exact_metering, found.refunds, found.doubts_in_wallet, found.approvals) == (
        "holds",
        True,
        True,
        True,
        True,
    )
    assert not found.once_everywhere
    assert [record.levelname for record in said(caplog)] == ["INFO"]


@pytest.mark.parametrize("moment", range(1, 12))
async def test_a_cancellation_at_any_moment_of_the_journal_loses_nothing(plain, journal, moment):
    loop, here, ran = asyncio.get_running_loop(), [], []

    def moments(name):
        here.append(name)
        if len(here) == moment:
            loop.call_soon_threadsafe(paying.cancel)

    async def tool():
        await asyncio.sleep(0)
        ran.append(1)
        return 1

    client = AsyncWalletClient("tvpk_1", transport=AsyncPlain(plain))
    handle = AsyncWallet(client, plain.wallet["id"], "bot")
    paying = asyncio.create_task(AsyncGuard(handle, journal=Slow(journal, moments)).pay(tool, "0.3", key="k"))
    await asyncio.wait({paying})
    assert len(here) >= moment
    guard = AsyncGuard(handle, journal=journal, quiet_seconds=0)
    await guard.recover()
    adds_up(journal, plain)
    in_doubt, credit = await guard.in_doubt_usd(), await guard.credit_usd()
    assert plain.spent in (0, THIRD)
    assert (THIRD if ran else 0) <= plain.spent - credit
    entry = journal.find(handle.id, "k")
    assert in_doubt == (THIRD if entry and entry.state == "in_doubt" else 0)
