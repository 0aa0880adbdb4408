"""Who decides about a payment: a policy, the wallet's limits, a person who answers elsewhere."""

from decimal import Decimal

import pytest

from trove_agents import Call, TroveConnectionError
from trove_agents.guard import ApprovalNeeded, Approve, Ask, Deny, PaymentDenied, ask_above


def ran():
    pytest.fail("ran")


def test_a_policy_is_asked_with_what_the_payment_is(guarding, numbers):
    asked = []
    guard = guarding(policy=lambda proposal: asked.append(proposal) or Approve())
    guard.pay(lambda: 1, "0.30", key="k", tool="t", vendor="v", arguments={"q": 1})
    guard.pay(ran, "0.30", key="k", tool="t", vendor="v", arguments={"q": 1})
    (one,) = asked  # what was paid before is not asked again
    assert (one.key, one.price_usd, one.tool, one.vendor, one.arguments) == (
        "k",
        Decimal("0.3"),
        "t",
        "v",
        {"q": 1},
    )


@pytest.mark.parametrize(
    "policy", [lambda _: Deny("too late"), lambda _: 1 / 0, lambda _: True, lambda _: None]
)
def test_a_policy_that_denies_fails_or_answers_no_verdict_denies(guarding, numbers, journal, wallet, policy):
    with pytest.raises(PaymentDenied):
        guarding(policy=policy).pay(ran, "0.30", key="k")
    assert (numbers(), journal.find(wallet.id, "k")) == (("0", "0", "0"), None)


def test_a_person_answers_elsewhere(guarding, wallets, wallet, numbers):
    guard = guarding(policy=ask_above("0.2"))
    assert guard.pay(lambda: 1, "0.20", key="cheap").result == 1
    with pytest.raises(ApprovalNeeded, match=r"more than \$0.2") as needed:
        guard.pay(ran, "0.30", key="k", tool="t", arguments={"q": 1})
    approval = needed.value.approval
    assert (approval.state, approval.tool, approval.max_amount_usd) == ("pending", "t", Decimal("0.3"))
    with pytest.raises(ApprovalNeeded) as again:
        guard.pay(ran, "0.30", key="k", tool="t", arguments={"q": 1})
    assert again.value.approval == approval
    wallets.approve(approval.id)
    assert guard.pay(lambda: 2, "0.30", key="k", tool="t", arguments={"q": 1}).result == 2
    assert wallets.get_approval(approval.id).state == "used"
    assert numbers() == ("0.5", "0", "0")


def test_a_no_denies(guarding, wallets):
    guard = guarding(policy=lambda _: Ask("big"))
    with pytest.raises(ApprovalNeeded) as needed:
        guard.pay(ran, "0.30", key="k")
    wallets.deny(needed.value.approval.id)
    with pytest.raises(PaymentDenied, match="person said no"):
        guard.pay(ran, "0.30", key="k")


def test_a_person_at_hand_answers_at_once(guarding, numbers):
    guard = guarding(policy=ask_above(0))
    assert guard.pay(lambda: 1, "0.30", key="k", approved=True).result == 1
    assert numbers() == ("0.3", "0", "0")


def test_the_wallets_own_limit_asks_too_whoever_said_yes(guard, wallets, wallet, numbers):
    path = ("api", "wallets", str(wallet.id), "limits")
    wallets.send(Call("PUT", path, lambda _: None, body=b'{"approval_above_usd": 0.1}'))
    for _ in range(2):
        with pytest.raises(ApprovalNeeded, match="limit") as needed:
            guard.pay(ran, "0.30", key="k", approved=True)
    wallets.approve(needed.value.approval.id)
    assert guard.pay(lambda: 1, "0.30", key="k").result == 1
    assert numbers() == ("0.3", "0", "0")


@pytest.mark.parametrize("done", [True, False])
def test_an_approval_survives_a_hold_whose_answer_was_lost(guarding, wallets, road, numbers, done):
    guard = guarding(policy=lambda _: Ask("big"))
    with pytest.raises(ApprovalNeeded) as needed:
        guard.pay(ran, "0.30", key="k")
    wallets.approve(needed.value.approval.id)
    road.lose("holds", done=done)
    with pytest.raises(TroveConnectionError):
        guard.pay(ran, "0.30", key="k")
    assert [receipt.state for receipt in guard.recover()] == ["voided"]
    assert numbers() == ("0", "0", "0")
    # The yes was used up by the hold that was given back
    with pytest.raises(ApprovalNeeded) as anew:
        guard.pay(ran, "0.30", key="k")
    assert anew.value.approval.id != needed.value.approval.id
    wallets.approve(anew.value.approval.id)
    assert guard.pay(lambda: 1, "0.30", key="k").result == 1


def test_the_same_purchase_under_another_key_asks_while_one_is_in_doubt(guard, wallets, numbers):
    with pytest.raises(TimeoutError), guard.authorize("0.30", key="k", tool="t", arguments={"q": 1}):
        raise TimeoutError
    with pytest.raises(ApprovalNeeded, match="'k'"):
        guard.pay(ran, "0.30", key="l", tool="t", arguments={"q": 1})
    assert guard.pay(lambda: 1, "0.10", key="m", tool="t", arguments={"q": 2}).result == 1
    assert guard.pay(lambda: 1, "0.10", key="n").result == 1
    assert guard.pay(lambda: 2, "0.30", key="o", tool="t", arguments={"q": 1}, approved=True).result == 2
    guard.resolve("k", "not-charged")
    assert guard.pay(lambda: 3, "0.30", key="l", tool="t", arguments={"q": 1}).result == 3


def test_a_policy_that_denies_is_not_passed_by_a_yes_to_something_else(guarding):
    guard = guarding(policy=lambda proposal: Deny("too late") if proposal.key == "l" else Approve())
    with pytest.raises(TimeoutError), guard.authorize("0.30", key="k", tool="t"):
        raise TimeoutError
    with pytest.raises(PaymentDenied, match="too late"):
        guard.pay(ran, "0.30", key="l", tool="t", approved=True)


def test_a_payment_whose_approval_has_served_another_meanwhile_is_over(
    guarding, wallets, wallet, road, numbers
):
    guard = guarding(policy=ask_above("0.10"))
    with pytest.raises(ApprovalNeeded) as needed:
        guard.pay(ran, "0.30", key="k")
    given = wallets.approve(needed.value.approval.id)
    road.lose("holds", done=False)
    with pytest.raises(TroveConnectionError):
        guard.pay(ran, "0.30", key="k")
    wallets.void(wallets.hold(wallet.id, "0.30", approval=given).id)
    assert [receipt.state for receipt in guard.recover()] == ["denied"]
    assert numbers() == ("0", "0", "0")
