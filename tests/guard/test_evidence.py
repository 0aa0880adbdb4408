"""What proves that nothing was charged, told by real HTTP errors; and what models are told."""

import socket
import threading
from decimal import Decimal

import httpx
import pytest

from trove_agents import BudgetExceededError, TroveConnectionError, WalletBalance
from trove_agents.guard import (
    AlreadyPaid,
    ApprovalNeeded,
    Metered,
    PaymentConflict,
    PaymentDenied,
    PaymentInDoubt,
    answered,
    any_of,
    not_sent,
    texts,
    turned_away,
)


@pytest.fixture
def closed_port():
    with socket.socket() as bound:
        bound.bind(("127.0.0.1", 0))
        yield bound.getsockname()[1]


@pytest.fixture
def silent_port():
    """Takes requests and never answers."""
    with socket.create_server(("127.0.0.1", 0)) as listening:
        yield listening.getsockname()[1]


@pytest.fixture
def refusing_port():
    """Answers one request with 422."""
    with socket.create_server(("127.0.0.1", 0)) as listening:

        def answer():
            connection, _ = listening.accept()
            with connection:
                connection.recv(65536)
                connection.sendall(b"HTTP/1.1 422 No\r\nContent-Length: 0\r\n\r\n")

        thread = threading.Thread(target=answer)
        thread.start()
        yield listening.getsockname()[1]
        thread.join()


def failure(port, **named):
    with pytest.raises(httpx.HTTPError) as raised:
        httpx.get(f"http://127.0.0.1:{port}", **named).raise_for_status()
    return raised.value


def test_what_was_never_sent(closed_port, silent_port):
    assert not_sent(failure(closed_port))
    assert not not_sent(failure(silent_port, timeout=0.1))
    with pytest.raises(ConnectionRefusedError) as refused:
        socket.create_connection(("127.0.0.1", closed_port))
    assert not_sent(refused.value)
    assert not any(map(not_sent, (TimeoutError(), ConnectionResetError(), RuntimeError())))


def test_a_name_alone_is_no_evidence():
    assert not not_sent(type("ConnectError", (Exception,), {"__module__": "mine"})())


def test_a_status_that_is_not_charged_for(refusing_port, closed_port):
    error = failure(refusing_port)
    assert answered(400, 422)(error)
    assert not answered(400)(error)
    assert any_of(not_sent, answered(422))(error)
    assert not answered(422)(failure(closed_port))


class Answer(Exception):
    """As the errors of providers' libraries."""

    def __init__(self, status):
        self.status_code = status


@pytest.mark.parametrize("status", [400, 401, 403, 404, 413, 422, 429])
def test_a_provider_that_turns_a_request_away_does_not_charge_for_it(status):
    assert turned_away(Answer(status))


@pytest.mark.parametrize("status", [408, 424, 499, 500, 503, 504, 529])
def test_a_provider_whose_model_may_have_run_may_charge_for_it(status):
    assert not turned_away(Answer(status))


BALANCE = WalletBalance(
    total_spent=Decimal("0.5"),
    remaining_budget=Decimal("1.25"),
    transaction_count=1,
    held_usd=Decimal("0.25"),
)


def test_what_models_are_told():
    over = BudgetExceededError("no", 402)
    over.requested_usd, over.remaining_usd, over.limiting_rule = Decimal(2), Decimal("1.25"), "budget"
    assert "needs $2.00, and $1.25 remain" in texts.refusal(over)
    over.limiting_rule = "per_day"
    assert "per_day" in texts.refusal(over)
    for error in (
        PaymentDenied("too late"),
        ApprovalNeeded("big", None),
        PaymentConflict("another price"),
        TroveConnectionError("gone"),
    ):
        assert "Not run" in texts.refusal(error) and "charged" in texts.refusal(error)
    assert "do not try it again" in texts.refusal(PaymentInDoubt("k", "nobody knows"))
    assert texts.refusal(_already()) == texts.NOT_KEPT
    assert texts.budget(BALANCE) == (
        "Budget for paid tools: $1.25 of $2.00 remain, $0.25 are held for calls that are under way."
    )


def _already():
    from trove_agents.guard import Entry, Receipt

    return AlreadyPaid(Receipt.of(Entry(wallet_id=1, key="k", fingerprint="f", micros=1)), None)


@pytest.mark.parametrize(
    ("price", "told"),
    [
        ("0.25", "Costs $0.25 a call."),
        (0, "Free."),
        (lambda given: 1, "Its price depends on the arguments."),
        (Metered("0.5", str), "Costs at most $0.50 a call."),
        (Metered(lambda given: 1, str), "Its cost is metered."),
    ],
)
def test_price_tags(price, told):
    assert texts.price_tag(price) == told
