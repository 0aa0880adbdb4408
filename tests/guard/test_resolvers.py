"""A vendor that is asked how a payment in doubt ended, and what is settled later since the wallet was not reached."""

from decimal import Decimal

import pytest

from trove_agents.guard import AsyncGuard, PaymentInDoubt, UnsettledWarning


@pytest.fixture
def said():
    return {"k": None}


@pytest.fixture
def guard(guarding, said):
    return guarding(resolvers={"acme": lambda receipt: said[receipt.key]})


def doubt(guard, key="k", vendor="acme"):
    with pytest.raises(TimeoutError), guard.authorize("0.30", key=key, vendor=vendor):
        raise TimeoutError


@pytest.mark.parametrize(
    ("answer", "spent", "state_then"),
    [
        ("charged", "0.3", "captured"),
        (Decimal("0.2"), "0.2", "captured"),
        ("not-charged", "0", "voided"),
        (Decimal(0), "0", "voided"),
    ],
)
def test_recover_asks_the_vendor(guard, numbers, said, state, answer, spent, state_then):
    doubt(guard)
    assert guard.recover() == []
    said["k"] = answer
    assert [receipt.state for receipt in guard.recover()] == [state_then]
    assert (numbers(), state()) == ((spent, "0", "0"), state_then)


def test_the_same_key_again_asks_the_vendor_first(guard, numbers, said):
    doubt(guard)
    with pytest.raises(PaymentInDoubt):
        guard.pay(lambda: pytest.fail("ran"), "0.30", key="k", vendor="acme")
    said["k"] = "charged"
    again = guard.pay(lambda: pytest.fail("ran"), "0.30", key="k", vendor="acme")
    assert (again.repeated, again.kept, numbers()) == (True, False, ("0.3", "0", "0"))


def test_what_was_not_charged_is_made_anew(guard, numbers, said):
    doubt(guard)
    said["k"] = "not-charged"
    assert guard.pay(lambda: 1, "0.30", key="k", vendor="acme").result == 1
    assert numbers() == ("0.3", "0", "0")


@pytest.mark.parametrize("answer", ["perhaps", 0.1, Decimal("0.31"), Decimal("NaN"), True])
def test_an_answer_that_makes_no_sense_leaves_the_doubt(guard, numbers, said, answer, caplog):
    doubt(guard)
    said["k"] = answer
    assert guard.recover() == []
    assert numbers() == ("0", "0", "0.3")
    assert "acme" in caplog.text


def test_a_vendor_without_resolver_waits_for_a_person(guard, said):
    doubt(guard, vendor="other")
    assert guard.recover() == []
    assert [receipt.vendor for receipt in guard.doubts()] == ["other"]


async def test_a_resolver_that_is_a_coroutine_function(trove, journal, request):
    async def asks(receipt):
        return "charged"

    client = trove.async_wallets()
    wallet = await client.wallet(request.node.name, budget_usd=1)
    guard = AsyncGuard(wallet, journal=journal, resolvers={"acme": asks})
    with pytest.raises(TimeoutError):
        async with guard.authorize("0.3", key="k", vendor="acme"):
            raise TimeoutError
    assert [receipt.state for receipt in await guard.recover()] == ["captured"]
    await client.aclose()


def test_what_could_not_be_settled_is_with_the_next_payment(guard, road, numbers, state):
    road.lose("capture", done=False)
    guard.pay(lambda: 1, "0.30", key="k")
    assert (state(), numbers()) == ("settling", ("0", "0.3", "0"))
    guard.pay(lambda: 1, "0.10", key="l")
    assert (state(), numbers()) == ("captured", ("0.4", "0", "0"))


def test_what_a_crash_left_running_is_asked_for_at_once(guarding, guard, journal, wallet, numbers, said):
    said["k"] = Decimal("0.1")
    with guard.authorize("0.30", key="k", vendor="acme"):
        assert [receipt.state for receipt in guarding(resolvers={"acme": lambda _: said["k"]}).recover()] == [
            "captured"
        ]
    assert numbers() == ("0.1", "0", "0")


def test_what_the_tool_said_it_did_cost_is_what_was_charged(guard, wallets, wallet, numbers, said):
    with pytest.warns(UnsettledWarning), guard.authorize("0.30", key="k", vendor="acme") as payment:
        payment.capture("0.1")
        wallets.void(payment.receipt.hold_id)
        wallets.update_wallet(wallet.id, budget_limit_usd="0")
    wallets.update_wallet(wallet.id, budget_limit_usd=1)
    said["k"] = "charged"
    assert [receipt.state for receipt in guard.recover()] == ["captured"]
    assert numbers() == ("0.1", "0", "0")
