"""What the guard adds to a payment: to the calls to the wallet, and to the commits of its journal."""

import asyncio
import contextlib
import json
import os
import tempfile
from collections.abc import Callable, Iterator
from decimal import Decimal
from pathlib import Path

from floors import connect
from race import race
from report import Row, duration

from trove_agents import AsyncWallet, AsyncWalletClient, Wallet, WalletClient
from trove_agents.client.transport import Outgoing, Reply
from trove_agents.embedded import Trove
from trove_agents.guard import AsyncGuard, Guard

MEMORY = Path("/dev/shm")
USD = Decimal("0.001")
_HOLD = {
    "id": 1,
    "wallet_id": 1,
    "amount_usd": 0.001,
    "captured_usd": 0,
    "state": "held",
    "on_expiry": "doubt",
}
_TIMES = {"expires_at": "2026-11-01T00:00:00Z", "created_at": "2026-11-01T00:00:00Z"}
_PAID = {"id": 1, "wallet_id": 1, "amount_usd": 0.001, "type": "debit", **_TIMES}


class Answering:
    """A wallet that answers at once: its own time is none of the guard's."""

    retries = False
    answers = {
        "holds": json.dumps({"hold": _HOLD | _TIMES}).encode(),
        "capture": json.dumps({"transaction": _PAID}).encode(),
        "capabilities": b'{"holds": true, "idempotency": true}',
    }

    def send(self, request: Outgoing) -> Reply:
        return Reply(200, {}, self.answers[request.path.rpartition("/")[2]])

    def close(self) -> None: ...


class AsyncAnswering(Answering):
    async def send(self, request: Outgoing) -> Reply:  # type: ignore[override]
        return super().send(request)

    async def aclose(self) -> None: ...


def rows(folder: Path, *, turns: int, say: Callable[[str], None]) -> list[Row]:
    found = []
    with _without_disk(folder) as place:
        times = _race(place, turns)
    for name in ("guard", "guard for asyncio"):
        added = times[name] - times["calls"] - times["commits"]
        aim, met = ("≤ 150 us", added <= 150) if name == "guard" else ("", None)
        whole = {each: times[each] for each in (name, "calls", "commits")}
        found.append(
            Row(
                "the guard",
                f"{name}, beside its commits",
                duration(added),
                added,
                aim=aim,
                met=met,
                others=whole,
            )
        )
    found.append(_whole(folder, turns))
    for row in found:
        say(f"{row.section}, {row.operation}: {row.figure}")
    return found


def _race(place: Path, turns: int) -> dict[str, float]:
    """Medians in microseconds, of a disk that costs nothing: what is left is work."""
    client = WalletClient("key", transport=Answering())
    raw = connect(place / "bare.db")
    raw.execute("CREATE TABLE payments(key TEXT PRIMARY KEY, state TEXT, result BLOB) WITHOUT ROWID")

    def calls(turn: int) -> None:
        hold = client.with_idempotency_key(f"hold-{turn}").hold(1, USD, tool="bench")
        client.with_idempotency_key(f"capture-{turn}").capture(hold.id, USD)

    def commits(turn: int) -> None:
        raw.execute("INSERT INTO payments VALUES (?, 'intended', NULL)", (str(turn),))
        for state in ("running", "settling", "captured"):
            raw.execute("UPDATE payments SET state = ?, result = '1' WHERE key = ?", (state, str(turn)))

    async def tool() -> int:
        return 1

    guard = Guard(Wallet(client, 1, "bench"), journal=place / "journal.db")
    waiting = AsyncGuard(
        AsyncWallet(AsyncWalletClient("key", transport=AsyncAnswering()), 1, "bench"),
        journal=place / "waiting.db",
    )
    named = {"tool": "bench", "arguments": {"q": 1}}
    with asyncio.Runner() as runner, guard:
        times = race(
            turns,
            {
                "calls": calls,
                "commits": commits,
                "guard": lambda turn: guard.pay(lambda: 1, USD, key=str(turn), **named),
                "guard for asyncio": lambda turn: runner.run(waiting.pay(tool, USD, key=str(turn), **named)),
            },
        )
        runner.run(waiting.aclose())
    raw.close()
    return {name: each.median for name, each in times.items()}


def _whole(folder: Path, turns: int) -> Row:
    """With an embedded wallet and a journal on the disk, beside the pair of calls alone."""
    with Trove.local(folder / "state") as trove:
        wallet = trove.wallet("bench", budget_usd=1_000_000)
        client = wallet.client

        def pair(turn: int) -> None:
            client.capture(client.hold(wallet.id, USD, tool="bench").id)

        with Guard(wallet, journal=folder / "payments.db") as guard:
            times = race(
                turns, {"pair": pair, "guard": lambda turn: guard.pay(lambda: 1, USD, key=str(turn))}
            )
    whole, bare = times["guard"], times["pair"]
    return Row(
        "the guard",
        "a payment in process, on the disk",
        duration(whole.median),
        whole.median,
        "hold and capture",
        whole.median / bare.median,
        p99=whole.p99,
    )


@contextlib.contextmanager
def _without_disk(folder: Path) -> Iterator[Path]:
    """A folder in memory, where there is one: a sync there costs nothing."""
    if not os.access(MEMORY, os.W_OK):
        yield folder
        return
    with tempfile.TemporaryDirectory(dir=MEMORY) as place:
        yield Path(place)
