"""What OpenTelemetry is told of payments: which, how much, and how they ended; never what was bought or said.

Only where the program itself has imported it: no other can have set it up. Spans are told in the flows of the guards, money
where the journal is moved on, so that it counts whoever moves it. No failure of it reaches a payment.
"""

import importlib.metadata
import sys
import time
from contextlib import suppress
from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING, Any, Final

from trove_agents.errors import BudgetExceededError
from trove_agents.guard.driving import GuardFlow
from trove_agents.guard.errors import AlreadyPaid, PaymentDenied, PaymentInDoubt
from trove_agents.guard.prices import micros
from trove_agents.guard.states import Entry, State

if TYPE_CHECKING:
    from opentelemetry.metrics import Counter, Histogram, Meter, UpDownCounter
    from opentelemetry.trace import Span, Tracer

_SCOPE: Final = "trove_agents.guard"
_SECONDS: Final = (0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0, 2.0, 5.0, 10.0, 30.0)
LABELS: Final = 50
"""How many vendors have a label of their own in a process; all that come later share ``other``."""


def in_use() -> bool:
    """Whether this program uses OpenTelemetry."""
    return "opentelemetry" in sys.modules


def authorizing(entry: Entry, flow: GuardFlow[Entry]) -> GuardFlow[tuple[Entry, "Told | None"]]:
    """A flow that begins a payment, and what its end is told to."""
    if not in_use():
        return (yield from flow), None
    told = _open(entry)
    began = time.perf_counter()
    try:
        begun = yield from flow
    except BaseException as error:
        with suppress(Exception):
            _refused(told, entry, error, time.perf_counter() - began)
        raise
    with suppress(Exception):
        _instruments().authorizing.record(time.perf_counter() - began)
        if told is not None:
            told.span.set_attributes({**_state(begun), "wallet.replayed": False})
    return begun, told


def ending(told: "Told | None", flow: GuardFlow[Entry], error: BaseException | None) -> GuardFlow[Entry]:
    """A flow that ends a payment, whose tool raised an error or none."""
    if told is None:
        return (yield from flow)
    ended = None
    try:
        ended = yield from flow
        return ended
    finally:
        with suppress(Exception):
            if ended is not None:
                told.span.set_attributes(_state(ended))
            told.close(None if ended is not None and ended.state == "waiting" else error)


@dataclass(frozen=True, slots=True)
class Told:
    """The span that a payment is told to."""

    span: "Span"
    own: bool
    """It was begun for the payment, and ends with it."""

    def close(self, error: BaseException | None) -> None:
        """Ends the span, if it is the payment's own; of an error it has the name alone."""
        if not self.own:
            return
        from opentelemetry.trace import StatusCode

        if error is not None:
            self.span.set_attribute("error.type", type(error).__name__)
            self.span.set_status(StatusCode.ERROR)
        self.span.end()


class _Labels:
    """Values of an attribute of metrics, of which there must not be too many."""

    def __init__(self) -> None:
        self._known: set[str] = set()

    def __call__(self, value: str) -> str:
        if value not in self._known:
            if len(self._known) >= LABELS:
                return "other"
            self._known.add(value)
        return value


_VENDORS: Final = _Labels()
_RULES: Final = _Labels()


@dataclass(frozen=True, slots=True)
class _Instruments:
    spend: "Counter"
    held: "UpDownCounter"
    in_doubt: "UpDownCounter"
    authorizing: "Histogram"
    denials: "Counter"


@cache
def _instruments() -> _Instruments:
    from opentelemetry import metrics

    meter: Meter = metrics.get_meter(_SCOPE, _version())
    unit = "{micros}"
    return _Instruments(
        spend=meter.create_counter("wallet.spend", unit, "Micro-USD that were spent."),
        held=meter.create_up_down_counter("wallet.held", unit, "Micro-USD that are held."),
        in_doubt=meter.create_up_down_counter("wallet.in_doubt", unit, "Micro-USD that are in doubt."),
        authorizing=meter.create_histogram(
            "wallet.authorize.duration",
            "s",
            "How long a payment took to be authorized or refused.",
            explicit_bucket_boundaries_advisory=_SECONDS,
        ),
        denials=meter.create_counter("wallet.denials", "{payment}", "Payments that were refused."),
    )


@cache
def _tracer() -> "Tracer":
    from opentelemetry import trace

    return trace.get_tracer(_SCOPE, _version())


def _version() -> str:
    return importlib.metadata.version("trove-agents")


def _open(entry: Entry) -> Told | None:
    """The span that is there, if it records and tells of no other payment; else one below it."""
    with suppress(Exception):
        from opentelemetry import trace

        identity: dict[str, Any] = {"wallet.id": entry.wallet_id, "wallet.operation_id": entry.key}
        span = trace.get_current_span()
        there = getattr(span, "attributes", None) or {}
        own = not span.is_recording() or any(
            there.get(name, value) != value for name, value in identity.items()
        )
        if own:
            span = _tracer().start_span("wallet.payment")
            if not span.is_recording():
                return None
            if entry.tool is not None:  # a span that is there has its own
                identity["gen_ai.tool.name"] = entry.tool
        if entry.vendor is not None:
            identity["wallet.vendor"] = entry.vendor
        span.set_attributes({**identity, **_state(entry), "wallet.currency": "USD"})
        return Told(span, own)
    return None


def _refused(told: Told | None, entry: Entry, error: BaseException, seconds: float) -> None:
    found: dict[str, Any] = {}
    repeated = isinstance(error, AlreadyPaid)
    if isinstance(error, AlreadyPaid):
        made = error.receipt
        amount = micros(made.held_usd if made.charged_usd is None else made.charged_usd)
        found = {**_standing(made.state, amount, made.hold_id), "wallet.replayed": True}
    elif isinstance(error, PaymentInDoubt):
        found = {"wallet.state": "in_doubt"}
    elif isinstance(error, BudgetExceededError | PaymentDenied):
        rule = _RULES(error.limiting_rule or "budget")
        found = {"wallet.state": "denied", "wallet.rule": rule}
        if isinstance(error, BudgetExceededError) and error.remaining_usd is not None:
            found["wallet.remaining_micros"] = micros(error.remaining_usd)
        _instruments().denials.add(1, {"wallet.rule": rule, **_vendor(entry)})
    outcome = {"wallet.replayed": True} if repeated else {"error.type": type(error).__name__}
    _instruments().authorizing.record(seconds, outcome)
    if told is not None:
        told.span.set_attributes(found)
        told.close(None if repeated else error)


def moved(before: Entry, after: Entry) -> None:
    """Counts what a payment that the journal has moved on holds, doubts and spends."""
    if in_use():
        with suppress(Exception):
            _count(before, after)


def _count(before: Entry, after: Entry) -> None:
    instruments, vendor = _instruments(), _vendor(after)
    if held := _held(after) - _held(before):
        instruments.held.add(held, vendor)
    if in_doubt := _in_doubt(after) - _in_doubt(before):
        instruments.in_doubt.add(in_doubt, vendor)
    if after.state in ("captured", "written_off"):
        instruments.spend.add(after.settle_micros or 0, vendor)


def _held(entry: Entry) -> int:
    here = entry.hold_id is not None and entry.state in ("running", "waiting", "settling")
    return entry.micros if here else 0


def _in_doubt(entry: Entry) -> int:
    return entry.micros if entry.state == "in_doubt" else 0


def _vendor(entry: Entry) -> dict[str, str]:
    return {} if entry.vendor is None else {"wallet.vendor": _VENDORS(entry.vendor.strip().lower())}


def _state(entry: Entry) -> dict[str, Any]:
    amount = entry.micros if entry.settle_micros is None else entry.settle_micros
    return _standing(entry.state, amount, entry.hold_id)


def _standing(state: State, amount: int, hold_id: int | None) -> dict[str, Any]:
    """``amount`` is what was charged, once that is known; before that what is held."""
    found: dict[str, Any] = {"wallet.state": state, "wallet.amount_micros": amount}
    return found if hold_id is None else {**found, "wallet.hold_id": hold_id}
