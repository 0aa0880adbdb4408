"""Guards of other makes on the public kit of faults, each used as its documents show.

Each has two benches: as documented, and ``...Careful``, with what an application can do about tools whose outcome is
unknown: it keeps what was reserved as spent, except where the tool says that nothing was charged.
"""

import asyncio
import contextvars
import json
import logging
import os
import threading
import time
import uuid
from decimal import Decimal
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

from figuard import FiGuardClient
from floe_guard import BudgetGuard, SqliteStore
from runcycles import CyclesClient, CyclesConfig, cycles

from trove_agents.guard.faults import Books, Declined, Place
from trove_agents.guard.faults.ours import AsyncGuardBench, GuardBench

logging.disable()  # each tool that raises would be told of

CRASH = frozenset({"crash"})
RAISED = (Exception, asyncio.CancelledError)
"""By a tool. A crash is neither."""


class Ours(GuardBench):
    """With the faults that the others are given."""

    faults = CRASH


class OursAsync(AsyncGuardBench):
    faults = CRASH


def usd(amount):
    """A float of a ledger, to the prices' last digit."""
    return Decimal(str(round(amount, 4))).normalize() + Decimal(0)


class Alone:
    """A bench without a server or clock of its own."""

    faults = CRASH
    knows_keys = False

    def __init__(self, folder):
        pass

    def happens(self, what, place):
        pass

    def close(self):
        pass


class Subject:
    careful = False

    def recover(self):
        """None documents a call that a program makes when it starts again."""

    def audit(self, charged):
        return []

    def close(self):
        pass

    def keeps(self, error):
        """Whether what was reserved is kept when the tool raises."""
        return self.careful and not isinstance(error, Declined)


class FloeStore(SqliteStore):
    """The store, with a moment before and after each of its writes. ``StateStore`` is a public protocol."""

    def __init__(self, path, moments):
        super().__init__(path)
        self.moments = moments

    def _told(self, name, *arguments):
        self.moments.reached(f"before store.{name}")
        done = getattr(super(), name)(*arguments)
        self.moments.reached(f"after store.{name}")
        return done

    def reserve(self, *arguments):
        return self._told("reserve", *arguments)

    def settle(self, *arguments):
        return self._told("settle", *arguments)

    def release(self, *arguments):
        return self._told("release", *arguments)


class FloeSubject(Subject):
    def __init__(self, place, moments):
        self.store = FloeStore(place.folder / "budget.sqlite3", moments)
        self.guard = BudgetGuard(
            limit_usd=float(place.budget_usd),
            window="utc-day",
            store=self.store,
            on_block=lambda spent, limit: None,
        )

    def pay(self, tool, price_usd, key):
        price = float(price_usd)
        held = self.guard.reserve_tool(price)
        try:
            result = tool()
        except BaseException as error:
            if self.keeps(error):
                self.guard.settle_tool("tool", price, reserved=held)
            else:
                self.guard.release(held)
            raise
        self.guard.settle_tool("tool", price, reserved=held)
        return result

    def books(self):
        window = time.strftime("%Y-%m-%d", time.gmtime())
        spent, held = self.store.load(window, self.guard.limit_usd)
        return Books(usd(spent), usd(held))


class Floe(Alone):
    name = "floe-guard 0.25.2"

    def open(self, place, moments):
        return FloeSubject(place, moments)


class FloeCareful(Floe):
    name = "floe-guard 0.25.2, careful"

    def open(self, place, moments):
        subject = FloeSubject(place, moments)
        subject.careful = True
        return subject


class FiGuardSubject(Subject):
    def __init__(self, place, moments):
        self.moments = moments
        self.context = contextvars.Context()  # of a process: it keeps the parent event there
        self.client = FiGuardClient(mode="embedded", database=str(place.folder / "figuard.db"), log=False)
        kept = place.folder / "budget.json"
        if kept.exists():
            self.budget, self.token = json.loads(kept.read_text())
        else:
            made = self.client.create_budget(
                user_id="agent", total_limit=float(place.budget_usd), currency="USD"
            )
            self.budget, self.token = made.id, made.primary_token.session_token
            kept.write_text(json.dumps([self.budget, self.token]))

    def told(self, name, action):
        self.moments.reached(f"before {name}")
        done = self.context.run(action)
        self.moments.reached(f"after {name}")
        return done

    def pay(self, tool, price_usd, key):
        price = float(price_usd)
        asked = self.told(
            "authorize",
            lambda: self.client.authorize(
                budget=self.token, amount=price, idempotency_key=key, currency="USD"
            ),
        ).raise_if_denied()
        try:
            result = tool()
        except RAISED as error:
            if not self.keeps(error):
                self.told("fail", lambda: self.client.fail_event(asked.event_id, reason="TOOL_ERROR"))
            else:
                self.told("confirm", lambda: self.client.confirm(asked, price))
            raise
        self.told("confirm", lambda: self.client.confirm(asked, price))
        return result

    def books(self):
        found = self.client.get_budget(self.budget)
        return Books(usd(found.quantity_spent), usd(found.quantity_reserved))

    def close(self):
        self.client._embedded.engine.conn.close()


class FiGuard(Alone):
    name = "figuard 1.2.0"
    knows_keys = True  # "a stable key per logical spend intent so retries collapse to the same event"

    def open(self, place, moments):
        return FiGuardSubject(place, moments)


class FiGuardCareful(FiGuard):
    name = "figuard 1.2.0, careful"

    def open(self, place, moments):
        subject = FiGuardSubject(place, moments)
        subject.careful = True
        return subject


TTL, GRACE = 60.0, 5.0
MICROCENTS = 10**8


class CyclesLedger:
    """A ledger behind the calls that the client makes, as the protocol describes them: reservations that run out after
    their time and a grace, commits and events once for each key. Not the vendor's server, which needs Redis.
    """

    def __init__(self, budget):
        self.budget = budget
        self.reservations = {}
        self.answers = {}
        self.spent = 0
        self.ahead = 0.0
        self.lock = threading.Lock()

    def now(self):
        return time.time() + self.ahead

    def sweep(self):
        for each in self.reservations.values():
            if each["status"] == "ACTIVE" and self.now() > each["expires"] + GRACE:
                each["status"] = "EXPIRED"

    def held(self):
        self.sweep()
        return sum(each["amount"] for each in self.reservations.values() if each["status"] == "ACTIVE")

    def answer(self, path, body):
        with self.lock:
            asked = (path, body["idempotency_key"])
            if asked not in self.answers:
                self.answers[asked] = self.act(path.strip("/").split("/")[1:], body)
            return self.answers[asked]

    def act(self, path, body):
        held = self.held()
        if path == ["events"]:
            self.spent += body["actual"]["amount"]
            return 201, {"status": "APPLIED", "event_id": str(uuid.uuid4())}
        if path == ["reservations"]:
            amount = body["estimate"]["amount"]
            if self.spent + held + amount > self.budget:
                return 409, {"error": "BUDGET_EXCEEDED", "message": "budget exceeded", "request_id": "1"}
            name, expires = str(uuid.uuid4()), self.now() + body["ttl_ms"] / 1000
            self.reservations[name] = {"amount": amount, "status": "ACTIVE", "expires": expires}
            return 200, {
                "decision": "ALLOW",
                "reservation_id": name,
                "affected_scopes": [],
                "expires_at_ms": int(expires * 1000),
            }
        reservation, what = self.reservations[path[1]], path[2]
        if reservation["status"] != "ACTIVE":
            code = "RESERVATION_EXPIRED" if reservation["status"] == "EXPIRED" else "RESERVATION_FINALIZED"
            return (410 if code == "RESERVATION_EXPIRED" else 409), {
                "error": code,
                "message": code,
                "request_id": "1",
            }
        unit = "USD_MICROCENTS"
        if what == "extend":
            reservation["expires"] += body["extend_by_ms"] / 1000
            return 200, {"status": "ACTIVE", "expires_at_ms": int(reservation["expires"] * 1000)}
        if what == "commit":
            reservation["status"] = "COMMITTED"
            charged = body["actual"]["amount"]
            self.spent += charged
            return 200, {"status": "COMMITTED", "charged": {"unit": unit, "amount": charged}}
        reservation["status"] = "RELEASED"
        return 200, {"status": "RELEASED", "released": {"unit": unit, "amount": reservation["amount"]}}


class CyclesSubject(Subject):
    def __init__(self, bench, place, moments):
        self.moments = moments
        self.ledger = bench.ledgers[place.name]
        life = str(uuid.uuid4())
        bench.lives[life] = (self.ledger, moments)
        self.client = CyclesClient(
            CyclesConfig(
                base_url=bench.url, api_key=life, tenant="acme", journal_dir=str(place.folder / "journal")
            )
        )

    def pay(self, tool, price_usd, key):
        def call():
            try:
                return tool()
            except RAISED as error:
                if self.keeps(error):
                    return error  # it returns, so the estimate is committed
                raise

        guarded = cycles(estimate=int(price_usd * MICROCENTS), client=self.client, action_name=key)(call)
        self.moments.reached("before the reservation")
        result = guarded()
        self.moments.reached("after the commit")
        if isinstance(result, RAISED):
            raise result
        return result

    def books(self):
        return Books(usd(self.ledger.spent / MICROCENTS), usd(self.ledger.held() / MICROCENTS))

    def close(self):
        self.client.close()


class Cycles:
    """With a server of ours that keeps the ledger. A dead process' requests are not answered."""

    name = "runcycles 0.5.3"
    faults = CRASH
    knows_keys = False  # the decorator takes none

    def __init__(self, folder):
        self.lives, self.ledgers = {}, {}
        bench = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_POST(self):
                body = json.loads(self.rfile.read(int(self.headers["content-length"])))
                ledger, moments = bench.lives[self.headers["X-Cycles-API-Key"]]
                if moments.dead:
                    self.close_connection = True
                    return
                status, answer = ledger.answer(self.path, body)
                sent = json.dumps(answer).encode()
                self.send_response(status)
                self.send_header("content-type", "application/json")
                self.send_header("content-length", str(len(sent)))
                self.end_headers()
                self.wfile.write(sent)

            def log_message(self, *_):
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.server.daemon_threads = True
        self.url = f"http://127.0.0.1:{self.server.server_address[1]}"
        threading.Thread(target=self.server.serve_forever, daemon=True).start()

    def open(self, place: Place, moments):
        self.ledgers.setdefault(place.name, CyclesLedger(int(place.budget_usd * MICROCENTS)))
        return CyclesSubject(self, place, moments)

    def happens(self, what, place):
        if what == "ahead":
            self.ledgers[place.name].ahead += 7200.0

    def close(self):
        self.server.shutdown()
        self.server.server_close()


class CyclesCareful(Cycles):
    name = "runcycles 0.5.3, careful"

    def open(self, place, moments):
        subject = super().open(place, moments)
        subject.careful = True
        return subject


assert os.environ.get("FIGUARD_API_KEY") is None, "the embedded engine is tried"
