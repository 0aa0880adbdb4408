"""What goes beyond the public service's calls is not sent to a server that does not say it has it."""

import json
from decimal import Decimal

import pytest

from trove_agents import NotSupported, TroveError, WalletApproval, WalletClient, WalletLimits
from trove_agents.client.drive import Driver
from trove_agents.embedded import Trove

from .conftest import reply
from .plain_wallets import PlainWallets

APPROVAL = WalletApproval(
    id=1,
    wallet_id=1,
    operation_key="k",
    arguments_digest="d",
    max_amount_usd=Decimal(1),
    state="approved",
    expires_at="2026-04-04T12:00:00Z",
    created_at="2026-04-04T12:00:00Z",
)


def use(method, *arguments, **named):
    return method, arguments, named


USES = {
    "holds": [
        use("hold", 1, 1),
        use("capture", 1),
        use("void", 1),
        use("extend", 1, 60),
        use("doubt", 1),
        use("write_off", 1),
        use("get_hold", 1),
        use("list_holds", 1),
    ],
    "approvals": [
        use("request_approval", 1, operation_key="k", arguments_digest="d", max_amount_usd=1),
        use("get_approval", 1),
        use("list_approvals", 1),
        use("approve", 1),
        use("deny", 1),
    ],
    "key_roles": [
        use("create_key", "k", role="spend", wallet_id=1),
        use("create_key", "k", role="owner"),
        use("create_key", "k", wallet_id=1),
        use("list_keys"),
        use("delete_key", 1),
    ],
    "limits": [use("get_limits", 1), use("set_limits", 1, WalletLimits())],
    "refunds": [use("refund", 1)],
    "children": [use("create_child", 1, "a", "A", 1)],
    "namespaces": [
        use("create_wallet", "a", "A", 1, namespace="n"),
        use("wallet", "a", budget_usd=1, namespace="n"),
    ],
    "wallet_updates": [use("list_wallets"), use("get_wallet", 1), use("update_wallet", 1)],
}
ALL = [use for uses in USES.values() for use in uses]


PUBLIC = {"capabilities", "create_key", "create_wallet", "purchase", "balance", "transactions", "wallet"}
"""What every server of the public service's calls has."""


def test_every_method_is_told_which_it_is():
    own = {name for name in dir(WalletClient) if not name.startswith("_")} - set(dir(Driver))
    assert own == PUBLIC | {method for method, _, _ in ALL} | {"with_step", "with_idempotency_key"}


@pytest.mark.parametrize(("method", "arguments", "named"), ALL)
def test_a_plain_server_is_asked_once_and_sent_nothing_else(colour, method, arguments, named):
    transport = colour.transport(PlainWallets())
    client = colour.wallets(transport)
    for _ in range(2):
        with pytest.raises(NotSupported):
            colour.call(client, method, *arguments, **named)
    assert [request.path for request in transport.requests] == ["/api/capabilities"]


@pytest.mark.parametrize("status", [404, 405, 501])
def test_a_server_that_does_not_know_the_question_has_nothing(colour, status):
    client = colour.wallets(colour.transport(lambda _: reply(status)))
    assert colour.call(client, "capabilities") == frozenset()


@pytest.mark.parametrize("status", [401, 500, 503])
def test_what_a_server_has_is_asked_again_when_it_could_not_say(colour, status):
    answers = iter([reply(status), reply(200, b'{"holds": true, "refunds": false, "version": "1"}')])
    client = colour.wallets(colour.transport(lambda _: next(answers), retries=False))
    with pytest.raises(TroveError):
        colour.call(client, "capabilities")
    assert colour.call(client, "capabilities") == {"holds", "steps"}


def test_all_that_our_server_has_is_known_to_the_client(colour):
    with Trove.temporary() as trove:
        client = colour.embedded_wallets(trove)
        assert colour.call(client, "capabilities") == {*USES, "idempotency", "steps"}


@pytest.mark.parametrize("name", USES)
def test_each_capability_stands_for_itself(colour, name):
    class Reached(Exception):
        pass

    def server(request):
        if request.path == "/api/capabilities":
            return reply(200, json.dumps({"success": True, name: True, "version": "1"}).encode())
        raise Reached

    for capability, uses in USES.items():
        for method, arguments, named in uses:
            with pytest.raises(Reached if capability == name else NotSupported):
                colour.call(colour.wallets(colour.transport(server)), method, *arguments, **named)


@pytest.mark.parametrize(
    ("needed", "method", "arguments", "named"),
    [
        ({"children", "namespaces"}, *use("create_child", 1, "a", "A", 1, namespace="n")),
        ({"holds", "approvals"}, *use("hold", 1, 1, approval=APPROVAL)),
        ({"approvals"}, *use("purchase", 1, 1, approval=APPROVAL)),
    ],
)
def test_two_capabilities_may_be_needed(colour, needed, method, arguments, named):
    for missing in needed:
        there = json.dumps(dict.fromkeys(needed - {missing}, True)).encode()
        transport = colour.transport(lambda _: reply(200, there))
        with pytest.raises(NotSupported, match=missing):
            colour.call(colour.wallets(transport), method, *arguments, **named)
        assert [request.path for request in transport.requests] == ["/api/capabilities"]


def test_a_plain_server_is_told_no_step(colour):
    server = PlainWallets()
    client = colour.wallets(colour.transport(server)).with_step(run="r-1")
    with pytest.raises(NotSupported):
        colour.call(client, "purchase", 1, 1)
    assert server.bought == []
