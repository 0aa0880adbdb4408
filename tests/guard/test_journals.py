"""One wallet and several journals: of another machine, or after the first was lost."""

import pytest

from trove_agents import TroveConnectionError
from trove_agents.guard import PaymentConflict, SqliteJournal


@pytest.fixture
def other(tmp_path):
    opened = SqliteJournal(tmp_path / "other.db")
    yield opened
    opened.close()


def fails():
    raise AssertionError("it is paid already")


def test_a_payment_is_not_made_again_by_a_journal_that_does_not_know_it(guarding, other, numbers):
    assert guarding().pay(lambda: 1, "0.3", key="k").result == 1
    for _ in range(2):
        with pytest.raises(PaymentConflict, match="is in another journal, or was in one that is lost"):
            guarding(journal=other).pay(fails, "0.3", key="k")
    assert numbers() == ("0.3", "0", "0")
    assert guarding(journal=other).pay(lambda: 2, "0.1", key="k2").result == 2


def test_nor_after_it_was_interrupted_there(guarding, other, wallet, road, numbers):
    road.lose("holds", done=False)
    with pytest.raises(TroveConnectionError):
        guarding(journal=other).pay(fails, "0.3", key="k")
    guarding().pay(lambda: 1, "0.3", key="k")
    [receipt] = guarding(journal=other).recover()
    assert receipt.state == "denied"
    with pytest.raises(PaymentConflict):
        guarding(journal=other).pay(fails, "0.3", key="k")
    assert numbers() == ("0.3", "0", "0")


def test_a_hold_that_its_payment_never_heard_of_was_settled_by_somebody(guarding, wallet, road, numbers):
    road.lose("holds", done=True)
    with pytest.raises(TroveConnectionError):
        guarding().pay(fails, "0.3", key="k")
    [hold] = wallet.client.list_holds(wallet.id)
    wallet.client.capture(hold.id, "0.2")
    [receipt] = guarding().recover()
    assert (receipt.state, str(receipt.charged_usd), receipt.hold_id) == ("captured", "0.2", hold.id)
    assert numbers() == ("0.2", "0", "0")


def test_what_did_not_fit_when_it_was_sorted_out_is_tried_again_under_the_same_hold(
    guarding, wallet, road, numbers
):
    road.lose("holds", done=False)
    with pytest.raises(TroveConnectionError):
        guarding().pay(fails, "0.8", key="k")
    other = wallet.client.hold(wallet.id, "0.5")
    [receipt] = guarding().recover()
    assert receipt.state == "denied"
    wallet.client.void(other.id)
    assert guarding().pay(lambda: 1, "0.8", key="k").result == 1
    assert len(list(wallet.client.list_holds(wallet.id))) == 2
    assert numbers() == ("0.8", "0", "0")


def test_a_hold_that_its_payment_never_heard_of_is_given_back_though_holds_last_longer_by_now(
    guarding, road, numbers, state
):
    road.lose("holds", done=True)
    with pytest.raises(TroveConnectionError):
        guarding(hold_seconds=60).pay(fails, "0.3", key="k")
    assert numbers() == ("0", "0.3", "0")
    guarding(hold_seconds=900).recover()
    assert (numbers(), state()) == (("0", "0", "0"), "voided")


def test_what_was_left_to_one_process_is_not_given_back_once_another_has_it_anew(
    guarding, wallet, road, numbers, state
):
    left = guarding()
    road.lose("holds", done=False)
    with pytest.raises(TroveConnectionError):
        left.pay(fails, "0.8", key="k")
    other = wallet.client.hold(wallet.id, "0.5")
    assert [receipt.state for receipt in guarding().recover()] == ["denied"]
    wallet.client.void(other.id)
    with guarding().authorize("0.8", key="k"):
        left.pay(lambda: 1, "0.1", key="l")  # settles what was left to it
        assert numbers() == ("0.1", "0.8", "0")
    assert (numbers(), state()) == (("0.9", "0", "0"), "captured")
