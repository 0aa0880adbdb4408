"""What OpenTelemetry is told of payments, by both guards, to its real SDK."""

import subprocess
import sys
from contextlib import contextmanager

import pytest

pytest.importorskip("opentelemetry.sdk", reason="`make setup` installs it")

from opentelemetry import metrics, trace
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import InMemoryMetricReader
from opentelemetry.sdk.trace import SpanProcessor, TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

from trove_agents import BudgetExceededError
from trove_agents.guard import Deny, Guard, NotCharged, PaymentDenied, PaymentInDoubt, telemetry


class Faulty(SpanProcessor):
    """Fails at the end of a span, where ``fails`` says so."""

    fails = False

    def on_end(self, span):
        if self.fails:
            raise RuntimeError("the exporter is broken")


FAULTY = Faulty()


@pytest.fixture(scope="module")
def sdk():
    """Set once: the API takes no second."""
    exporter, reader = InMemorySpanExporter(), InMemoryMetricReader()
    tracing = TracerProvider()
    tracing.add_span_processor(SimpleSpanProcessor(exporter))
    tracing.add_span_processor(FAULTY)
    metering = MeterProvider([reader])
    trace.set_tracer_provider(tracing)
    metrics.set_meter_provider(metering)
    yield exporter, reader
    tracing.shutdown()
    metering.shutdown()


@pytest.fixture
def spans(sdk):
    sdk[0].clear()
    return lambda: [(each.name, dict(each.attributes)) for each in sdk[0].get_finished_spans()]


@pytest.fixture
def counted(sdk, request):
    """By how much the metrics of the test's own vendor have changed."""
    vendor = request.node.name.lower()

    def read():
        found = {}
        data = sdk[1].get_metrics_data()
        for each in data.resource_metrics[0].scope_metrics[0].metrics if data else ():
            for point in each.data.data_points:
                if point.attributes.get("wallet.vendor") == vendor:
                    found[each.name.removeprefix("wallet.")] = point.value
        return found

    return read


@pytest.fixture
def paying(guard, request):
    """``authorize`` of the test's own vendor."""
    return lambda price="0.30", key="k", **named: guard.authorize(
        price, key=key, vendor=request.node.name, **named
    )


@pytest.fixture
def current(guard):
    """A span that is the current one where the guard runs: the event loop's tasks have a context of their own."""

    @contextmanager
    def entered(name):
        with trace.get_tracer("t").start_span(name) as span:
            if isinstance(guard, Guard):
                with trace.use_span(span):
                    yield span
                return
            using = trace.use_span(span)

            async def enter():
                using.__enter__()

            async def leave():
                using.__exit__(None, None, None)

            guard.runner.run(enter())
            yield span
            guard.runner.run(leave())

    return entered


def test_the_span_that_is_there_is_told_of_the_payment(paying, spans, wallet, current):
    with current("execute_tool search"), paying(tool="search", arguments={"q": "secret"}) as payment:
        payment.capture("0.1")
        payment.keep("secret result")
    [(name, told)] = spans()
    vendor = told.pop("wallet.vendor")
    assert name == "execute_tool search" and vendor.startswith("test_the_span")
    assert told == {
        "wallet.id": wallet.id,
        "wallet.operation_id": "k",
        "wallet.hold_id": payment.receipt.hold_id,
        "wallet.amount_micros": 100_000,
        "wallet.currency": "USD",
        "wallet.state": "captured",
        "wallet.replayed": False,
    }


def test_a_second_payment_in_a_span_and_one_without_a_span_have_their_own(paying, spans, current, sdk):
    with current("step") as step:
        for key in "kl":
            with paying("0.1", key=key):
                pass
    with paying("0.1", key="m", tool="search"):
        pass
    told = [(name, found["wallet.operation_id"]) for name, found in spans()]
    assert told == [("wallet.payment", "l"), ("step", "k"), ("wallet.payment", "m")]
    below, _, alone = sdk[0].get_finished_spans()
    assert below.parent.span_id == step.get_span_context().span_id
    assert alone.parent is None and alone.attributes["gen_ai.tool.name"] == "search"


def test_a_repetition_is_told_as_one(guard, spans):
    for _ in range(2):
        guard.pay(lambda: 1, "0.30", key="k")
    [(_, first), (_, again)] = spans()
    assert (first["wallet.replayed"], again["wallet.replayed"]) == (False, True)
    told = (again["wallet.state"], again["wallet.amount_micros"], again["wallet.hold_id"])
    assert told == ("captured", 300_000, first["wallet.hold_id"])


def test_what_went_wrong_is_named_and_not_quoted(paying, spans, sdk):
    with pytest.raises(TimeoutError), paying():
        raise TimeoutError("the secret of the vendor")
    with pytest.raises(PaymentInDoubt), paying():
        pytest.fail("ran")
    with pytest.raises(BudgetExceededError), paying(2, key="l"):
        pytest.fail("ran")
    told = [
        (
            found["error.type"],
            found["wallet.state"],
            found.get("wallet.rule"),
            found.get("wallet.remaining_micros"),
        )
        for _, found in spans()
    ]
    assert told == [
        ("TimeoutError", "in_doubt", None, None),
        ("PaymentInDoubt", "in_doubt", None, None),
        ("BudgetExceededError", "denied", "budget", 700_000),
    ]
    assert {each.status.is_ok for each in sdk[0].get_finished_spans()} == {False}
    said = "".join(each.to_json() for each in sdk[0].get_finished_spans())
    assert "secret" not in said


class Stopped(BaseException):
    """As the interrupt of a framework."""


def test_a_tool_that_waits_has_not_failed(guarding, spans):
    guard = guarding(signals=(Stopped,))
    with pytest.raises(Stopped), guard.authorize("0.30", key="k"):
        raise Stopped
    [(_, told)] = spans()
    assert told["wallet.state"] == "waiting" and "error.type" not in told


def test_money_is_counted_wherever_it_moves(paying, counted, guard):
    with paying():
        assert counted() == {"held": 300_000}
    assert counted() == {"held": 0, "spend": 300_000}
    with pytest.raises(NotCharged), paying("0.2", key="l"):
        raise NotCharged
    assert counted() == {"held": 0, "spend": 300_000}
    for key in "mno":
        with pytest.raises(TimeoutError), paying("0.1", key=key):
            raise TimeoutError
    assert counted() == {"held": 0, "in_doubt": 300_000, "spend": 300_000}
    guard.resolve("m", "charged")
    guard.resolve("n", "not-charged")
    assert counted() == {"held": 0, "in_doubt": 100_000, "spend": 400_000}
    guard.resolve("o", "write-off")
    assert counted() == {"held": 0, "in_doubt": 0, "spend": 500_000}


def test_refusals_are_counted_by_what_refused(guarding, counted, request, sdk):
    def no(proposal):
        return Deny("never")

    vendor = request.node.name
    with pytest.raises(BudgetExceededError), guarding().authorize(2, key="k", vendor=vendor):
        pytest.fail("ran")
    for key in "lm":
        with pytest.raises(PaymentDenied), guarding(policy=no).authorize("0.1", key=key, vendor=vendor):
            pytest.fail("ran")
    found = {
        point.attributes["wallet.rule"]: point.value
        for each in sdk[1].get_metrics_data().resource_metrics[0].scope_metrics[0].metrics
        for point in each.data.data_points
        if each.name == "wallet.denials" and point.attributes["wallet.vendor"] == vendor.lower()
    }
    assert found == {"budget": 1, "policy": 2}


def test_how_long_authorizing_took_is_measured_in_seconds(paying, sdk):
    def measured():
        return {
            tuple(point.attributes.items()): (point.count, point.explicit_bounds[0])
            for each in sdk[1].get_metrics_data().resource_metrics[0].scope_metrics[0].metrics
            for point in each.data.data_points
            if each.name == "wallet.authorize.duration"
        }

    with paying("0.1"):
        pass
    before = measured()[()][0]
    with paying("0.1", key="l"):
        pass
    assert measured()[()] == (before + 1, 0.001)


def test_there_are_no_more_labels_than_a_metric_bears():
    label = telemetry._Labels()
    for number in range(telemetry.LABELS):
        assert label(str(number)) == str(number)
    assert (label("one more"), label("7")) == ("other", "7")


def test_a_fault_of_the_telemetry_does_not_reach_the_payment(guard, numbers, monkeypatch, sdk):
    monkeypatch.setattr(FAULTY, "fails", True)
    assert guard.pay(lambda: 5, "0.30", key="k").result == 5
    assert numbers() == ("0.3", "0", "0")


@pytest.mark.parametrize("has", ["", "import opentelemetry.trace"])
def test_a_program_that_has_not_set_it_up_pays_and_does_not_load_it(tmp_path, has):
    code = f"""
import sys
{has}
before = set(sys.modules)
from trove_agents import Trove
from trove_agents.guard import Guard
with Trove.temporary() as trove:
    with Guard(trove.wallet("a", budget_usd=1), journal=sys.argv[1]) as guard:
        print(guard.pay(lambda: 5, "0.3", key="k").receipt.state)
print(sorted(name for name in set(sys.modules) - before if name.startswith("opentelemetry.sdk")))
print("opentelemetry" in sys.modules)
"""
    done = subprocess.run(
        [sys.executable, "-c", code, tmp_path / "journal.db"], capture_output=True, text=True, check=True
    )
    assert done.stdout.split() == ["captured", "[]", str(bool(has))]
