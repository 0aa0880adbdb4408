"""An agent pays for a tool, is killed while it pays, and goes on: nothing is paid twice, and no cent is lost.

The tool is a small vendor behind HTTP, in this file. It charges for each answer, also where it then takes so long that
its caller gives up, and it never asks whether a question came twice. The agent works in a process of its own, under a
budget; it is killed with SIGKILL just after the vendor charged and before it answered, and started again. At the end
the vendor's books and the wallet's are laid side by side.

    python examples/02_paid_tools.py
"""

import argparse
import json
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from decimal import Decimal
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, Final

import httpx
from rich.console import Console
from rich.table import Table

from trove_agents import BudgetExceededError, Trove
from trove_agents.guard import (
    Guard,
    Metered,
    PaymentInDoubt,
    Receipt,
    answered,
    any_of,
    not_sent,
    texts,
)

BUDGET: Final = Decimal("0.10")
MOST: Final = Decimal("0.02")
"""What one answer costs at most; what it did cost the vendor says in it."""
PATIENCE: Final = 0.5
"""Seconds that the agent waits for an answer."""
QUESTIONS: Final = (
    "population of Lisbon",
    "height of Ben Nevis",
    "??",  # the vendor refuses it, and charges nothing
    "boiling point of ethanol",
    "distance from Turin to Lyon",  # charged, then too slow
    "year of the first lighthouse at Alexandria",  # charged, and the agent is killed
    "melting point of gallium",
    "length of the Loire",  # charged, too slow, and the vendor does not know of it afterwards
    "depth of Lake Baikal",
    "number of bones in a hand",
)
SLOW: Final = frozenset({QUESTIONS[4], QUESTIONS[7]})
FATAL: Final = QUESTIONS[5]
FORGOTTEN: Final = QUESTIONS[7]

out = Console(highlight=False, soft_wrap=True)


class Vendor(ThreadingHTTPServer):
    """Answers questions for money. ``books`` has what it took, whatever its callers think."""

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Desk)
        self.books: list[tuple[str, str, Decimal]] = []  # reference, question, USD
        self.fatal = threading.Event()
        """Set when the agent's last hour has come: it was charged, and waits for the answer."""
        self.lock = threading.Lock()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_port}"

    @contextmanager
    def open(self) -> Iterator["Vendor"]:
        thread = threading.Thread(target=self.serve_forever, daemon=True)
        thread.start()
        try:
            yield self
        finally:
            self.shutdown()
            self.server_close()

    def charge(self, reference: str, question: str) -> Decimal:
        """Takes money for each call: it does not look whether it has seen the reference."""
        cost = Decimal("0.0042") + Decimal("0.000317") * len(question)
        with self.lock:
            self.books.append((reference, question, cost))
        return cost

    def found(self, reference: str) -> list[Decimal] | None:
        """What it took under a reference; None where it cannot tell."""
        with self.lock:
            mine = [row for row in self.books if row[0] == reference]
        return None if any(question == FORGOTTEN for _, question, _ in mine) else [row[2] for row in mine]


class Desk(BaseHTTPRequestHandler):
    """The vendor's HTTP."""

    server: Vendor

    def do_POST(self) -> None:
        asked = json.loads(self.rfile.read(int(self.headers["content-length"])))
        if len(asked["question"]) < len("???"):
            self.answer(422, {"error": "that is no question; nothing was charged"})
            return
        cost = self.server.charge(asked["reference"], asked["question"])
        if asked["question"] == FATAL and not self.server.fatal.is_set():
            self.server.fatal.set()
            time.sleep(10 * PATIENCE)
        elif asked["question"] in SLOW:
            time.sleep(2 * PATIENCE)
        self.answer(200, {"answer": f"about {sum(map(ord, asked['question']))}", "cost_usd": str(cost)})

    def do_GET(self) -> None:
        found = self.server.found(self.path.removeprefix("/charges/"))
        self.answer(200, {"charges": None if found is None else list(map(str, found))})

    def answer(self, status: int, body: dict[str, Any]) -> None:
        encoded = json.dumps(body).encode()
        try:
            self.send_response(status)
            self.send_header("content-length", str(len(encoded)))
            self.end_headers()
            self.wfile.write(encoded)
        except OSError:
            pass  # nobody waits for it any more

    def log_message(self, *_: object) -> None:
        """Quiet."""


# The agent, in a process of its own


def work(folder: Path, url: str) -> None:
    """Asks all questions. Started again it is the same: what was paid is known by its key."""
    http = httpx.Client(base_url=url, timeout=PATIENCE)

    def ask(question: str, reference: str) -> dict[str, str]:
        reply = http.post("/answers", json={"question": question, "reference": reference})
        reply.raise_for_status()
        told: dict[str, str] = reply.json()
        return told

    def how_it_ended(receipt: Receipt) -> Decimal | None:
        """What the vendor says about a payment of which the agent has seen no end."""
        found = http.get(f"/charges/{receipt.key}").raise_for_status().json()["charges"]
        return None if found is None else sum(map(Decimal, found), Decimal(0))

    with http, Trove.local(folder / "state", sandbox="none") as trove:
        wallet = trove.wallet("researcher", budget_usd=BUDGET)
        guard = Guard(wallet, journal=folder / "payments.db", resolvers={"answers": how_it_ended})
        with guard:
            for receipt in guard.recover():
                out.print(
                    f"  [cyan]recovered: {receipt.key} is {receipt.state}, charged ${receipt.charged_usd}"
                )
            for number, question in enumerate(QUESTIONS, start=1):
                key = f"research-1-{number}"
                out.print(f"  {number:>2} {question:<44}", end=" ")
                out.print(attempt(guard, key, question, ask))
            guard.recover()  # asks the vendor about what timed out


def attempt(guard: Guard, key: str, question: str, ask: Any) -> str:
    """One paid call, and what came of it in a line."""
    try:
        paid = guard.pay(
            lambda: ask(question, key),
            Metered(MOST, lambda told: Decimal(told["cost_usd"])),
            key=key,
            tool="ask",
            vendor="answers",
            arguments={"question": question},
            not_charged=any_of(not_sent, answered(422)),
        )
    except BudgetExceededError as refused:
        return f"[yellow]{texts.refusal(refused)}"
    except PaymentInDoubt:
        return "[yellow]not asked again: nobody knows yet whether it was charged"
    except httpx.TimeoutException:
        return "[red]timed out: it may have been charged, so its money stays held"
    except httpx.HTTPStatusError as refused:
        return f"[yellow]{refused.response.json()['error']}"
    charged = paid.receipt and paid.receipt.charged_usd
    if not paid.kept:
        return (
            f"[cyan]was paid (${charged}); the answer was lost with the first process, and is not paid again"
        )
    answer = paid.result["answer"] if paid.result else ""
    return f"[green]{answer}[/] for ${charged}" + (
        " [cyan](paid before, not asked again)" if paid.repeated else ""
    )


# The demo


def demo(folder: Path) -> bool:
    """Runs, kills and runs the agent; whether the books match."""
    with Vendor().open() as vendor:
        out.rule(
            f"[bold]an agent with ${BUDGET} asks {len(QUESTIONS)} questions of a vendor that charges up to ${MOST} each"
        )
        command = [sys.executable, __file__, "--work", str(folder), vendor.url]
        first = subprocess.Popen(command)  # noqa: S603 (this file)
        while not vendor.fatal.wait(0.05):
            if first.poll() is not None:
                raise SystemExit(f"the agent ended by itself, with {first.returncode}")
        first.kill()
        first.wait()
        out.print("\n")
        out.rule("[bold red]killed: the vendor has charged, and not answered", style="red")
        subprocess.run(command, check=True)  # noqa: S603 (as above)
        return settle(folder, vendor)


def settle(folder: Path, vendor: Vendor) -> bool:
    with Trove.local(folder / "state", sandbox="none") as trove:
        wallet = trove.wallet("researcher", budget_usd=BUDGET)
        with Guard(wallet, journal=folder / "payments.db") as guard:
            left = guard.doubts()
            out.rule(
                f"[bold]{len(left)} payment{'' if len(left) == 1 else 's'} in doubt: ${guard.in_doubt_usd()}"
            )
            invoice = {reference: cost for reference, _, cost in vendor.books}
            for receipt in left:
                out.print(
                    f"  {receipt.key}: {receipt.note}. The vendor cannot tell; its invoice says ${invoice[receipt.key]}."
                )
                # A person reads the invoice. It is less than what was held: the rest goes back to the budget
                guard.resolve(receipt.key, "charged", charged_usd=invoice[receipt.key])
            unsettled = guard.doubts()
            balance = wallet.balance()
    took = sum((cost for _, _, cost in vendor.books), Decimal(0))
    table = Table(title="the vendor's books and the wallet's")
    for heading in ("", "charges", "USD"):
        table.add_column(heading, justify="right" if heading else "left")
    table.add_row("the vendor took", str(len(vendor.books)), str(took))
    table.add_row("the wallet spent", str(balance.transaction_count), str(balance.total_spent))
    table.add_row("in doubt", str(len(unsettled)), str(balance.in_doubt_usd))
    table.add_row("paid twice", str(len(vendor.books) - len(invoice)), "")
    table.add_row("difference", "", f"{took - balance.total_spent:.6f}")
    out.print(table)
    out.print(f"${balance.remaining_budget} of ${BUDGET} remain.")
    return took == balance.total_spent and len(vendor.books) == len(invoice) and not unsettled


def main() -> int:
    parser = argparse.ArgumentParser(description=str(__doc__).splitlines()[0])
    parser.add_argument(
        "--keep", type=Path, metavar="FOLDER", help="where the state and the journal stay (default: nowhere)"
    )
    parser.add_argument("--work", nargs=2, metavar=("FOLDER", "URL"), help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.work:
        work(Path(arguments.work[0]), arguments.work[1])
        return 0
    if arguments.keep:
        arguments.keep.mkdir(parents=True, exist_ok=True)
        return 0 if demo(arguments.keep) else 1
    with tempfile.TemporaryDirectory() as folder:
        return 0 if demo(Path(folder)) else 1


if __name__ == "__main__":
    raise SystemExit(main())
