"""Guards with a bug planted in each: the kit must find it, and finds nothing where there is none."""

from itertools import count

import pytest

from trove_agents import TroveConnectionError, Wallet, WalletClient
from trove_agents.guard import Guard, SqliteJournal
from trove_agents.guard.faults import (
    Crashes,
    Declined,
    FaultyJournal,
    FaultyTransport,
    Histories,
    Pairs,
    play,
    played,
)
from trove_agents.guard.faults.ours import GuardBench, GuardSubject

WRONG = ("lost", "double", "exposed", "overshoot")


class Planted(GuardBench):
    """The guard of this package, but for what a subclass does to it."""

    journal = SqliteJournal
    seam = FaultyJournal
    subject = GuardSubject

    def open(self, place, moments):
        self._begin(place)
        transport = FaultyTransport(self._transport, moments, self._late, retries=False)
        wallet = Wallet(WalletClient(self._key, transport=transport), self._wallet.id, place.name)
        journal = self.journal(place.folder / "payments.db")
        guard = Guard(wallet, journal=self.seam(journal, moments))
        return self.subject(guard, journal, self.books)


class VoidsOnTimeout(Planted):
    """A timeout is taken for proof that nothing was charged."""

    class subject(GuardSubject):
        def pay(self, tool, price_usd, key):
            return self._guard.pay(
                tool, price_usd, key=key, not_charged=lambda error: isinstance(error, TimeoutError | Declined)
            )


class ForgetsToWrite(Planted):
    """The journal does not hear that the tool runs."""

    class journal(SqliteJournal):
        def replace(self, before, after, *, durable=True):
            return True if after.state == "running" else super().replace(before, after, durable=durable)


class WritesAfterwards(Planted):
    """The journal is told of a payment when it has ended."""

    class journal(SqliteJournal):
        def __init__(self, path):
            super().__init__(path)
            self.mine = {}

        def add(self, entry):
            self.mine[entry.key] = entry
            return super().find(entry.wallet_id, entry.key) is None

        def find(self, wallet_id, key):
            return self.mine.get(key) or super().find(wallet_id, key)

        def replace(self, before, after, *, durable=True):
            if before.key not in self.mine:
                return super().replace(before, after, durable=durable)
            self.mine[before.key] = after
            if after.state not in ("captured", "voided", "in_doubt"):
                return True
            del self.mine[before.key]
            return super().add(after) or super().replace(super().find(before.wallet_id, before.key), after)


class DoesNotSync(Planted):
    """What must be on the disk before the tool runs is only written."""

    class seam(FaultyJournal):
        def replace(self, before, after, *, durable=True):
            return super().replace(before, after, durable=False)


class PaysTwice(Planted):
    """Without a journal: where the wallet's answer is lost, it makes the payment once more."""

    class subject(GuardSubject):
        def pay(self, tool, price_usd, key):
            wallet = self._guard.wallet
            for _ in range(2):
                try:
                    hold = wallet.client.hold(wallet.id, price_usd)
                    result = tool()
                    wallet.client.capture(hold.id)
                except TroveConnectionError:
                    continue
                return result
            return None

        def audit(self, charged):
            return []


class Overspends(Planted):
    """It does not ask the wallet before the tool runs, but tells it afterwards."""

    class subject(GuardSubject):
        def pay(self, tool, price_usd, key):
            result = tool()
            self._guard.wallet.purchase(price_usd)
            return result

        def audit(self, charged):
            return []


@pytest.mark.parametrize(
    ("bench", "job", "planted"),
    [
        (VoidsOnTimeout, Crashes("charges-and-times-out"), {"lost", "double", "exposed"}),
        (ForgetsToWrite, Crashes("returns"), {"lost", "double", "exposed"}),
        (WritesAfterwards, Crashes("returns"), {"lost", "double"}),
        (DoesNotSync, Crashes("returns", "power-fails"), {"lost", "double", "exposed"}),
        (PaysTwice, Pairs("returns", "lost"), {"double"}),
        (Overspends, Histories(1, range(1000)), {"lost", "double", "exposed", "overshoot"}),
    ],
)
def test_a_planted_bug_is_found(bench, job, planted, tmp_path):
    there, found, numbers = bench(tmp_path / "bench"), set(), count()
    try:
        for run in job.runs(lambda each: played(there, each, tmp_path, str(next(numbers)))):
            found |= {name for name in WRONG if getattr(run, name)}
            if found >= planted:
                assert not run.sound
                return
    finally:
        there.close()
    assert found >= planted


def test_nothing_is_found_where_nothing_is_planted(tmp_path):
    there = Planted(tmp_path / "bench")
    try:
        sheet = play(there, [Histories(1, range(60))], tmp_path)
    finally:
        there.close()
    assert sheet.sound, sheet.examples[0]
    assert sheet.crashes
