"""The journal's file: private, durable, and moved on by one at a time."""

import os
import sqlite3
import stat
import subprocess
import sys
from itertools import product

import pytest

from trove_agents.guard import Entry, Pool, Purchase, SqliteJournal
from trove_agents.guard.states import FOLLOWS
from trove_agents.wire.steps import Step, to_header


@pytest.fixture
def journal(tmp_path):
    opened = SqliteJournal(tmp_path / "journal.db")
    yield opened
    opened.close()


def entry(**named):
    return Entry(**{"wallet_id": 1, "key": "k", "fingerprint": "f", "micros": 5} | named)


def test_the_file_is_private_also_when_it_was_not(tmp_path):
    path = tmp_path / "journal.db"
    path.touch(mode=0o644)
    journal = SqliteJournal(path)
    journal.add(entry())
    assert {stat.S_IMODE(os.stat(each).st_mode) for each in tmp_path.iterdir()} == {0o600}
    assert journal._connection.execute("PRAGMA synchronous").fetchone() == (2,)
    assert journal._connection.execute("PRAGMA journal_mode").fetchone() == ("wal",)
    journal.close()


def test_a_payment_is_there_once_per_wallet_and_key(journal):
    assert journal.add(entry())
    assert not journal.add(entry(fingerprint="g"))
    assert journal.add(entry(wallet_id=2))
    assert journal.find(1, "k").fingerprint == "f"
    assert journal.find(1, "other") is None


def test_what_is_there_already_is_not_written_again(journal, tmp_path):
    journal.add(entry())
    written = (tmp_path / "journal.db-wal").read_bytes()
    assert not journal.add(entry(fingerprint="g"))
    assert (tmp_path / "journal.db-wal").read_bytes() == written


def test_the_newest_payment_with_a_hold_is_found_without_its_result(journal):
    for number, hold in enumerate([3, 4, None]):
        journal.add(entry(key=str(number)))
        there = journal.find(1, str(number))
        journal.replace(there, there.to("running", hold_id=hold, result=b"1"))
    assert (journal.held(1).hold_id, journal.held(1).result, journal.held(2)) == (4, None, None)


def test_it_tells_whose_payments_it_has(journal):
    assert journal.wallets() == []
    for wallet_id in (7, 2, 7):
        journal.add(entry(wallet_id=wallet_id, key=str(wallet_id)))
    assert journal.wallets() == [2, 7]


@pytest.mark.parametrize("made", ["text", "table", "version"])
def test_a_file_that_is_another_s_is_refused_and_left_as_it_is(tmp_path, made):
    path = tmp_path / "other.db"
    if made == "text":
        path.write_text("not SQLite at all")
    else:
        other = sqlite3.connect(path)
        other.execute("CREATE TABLE mine (a)" if made == "table" else "PRAGMA user_version = 99")
        other.close()
    path.chmod(0o644)
    before = path.read_bytes()
    with pytest.raises(ValueError, match="no journal"):
        SqliteJournal(path)
    assert (path.read_bytes(), stat.S_IMODE(path.stat().st_mode)) == (before, 0o644)
    assert list(tmp_path.iterdir()) == [path]


def test_what_is_in_memory_is_no_journal(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(ValueError, match="in memory"):
        SqliteJournal(":memory:")
    assert list(tmp_path.iterdir()) == []


def test_only_one_of_two_moves_it_on(journal, tmp_path):
    journal.add(entry())
    there = journal.find(1, "k")
    other = SqliteJournal(tmp_path / "journal.db")
    assert other.replace(there, there.to("running", hold_id=7))
    assert not journal.replace(there, there.to("denied"))
    assert (journal.find(1, "k").state, journal.find(1, "k").hold_id) == ("running", 7)
    other.close()


def test_a_closed_one_says_so(journal):
    journal.close()
    journal.close()
    with pytest.raises(RuntimeError, match=r"journal\.db is closed"):
        journal.find(1, "k")
    with pytest.raises(RuntimeError, match=r"journal\.db is closed"):
        journal.add(entry())


def test_every_transition_is_checked():
    for before, after in product(FOLLOWS, FOLLOWS):
        if after in FOLLOWS[before]:
            assert entry(state=before).to(after).state == after
        else:
            with pytest.raises(ValueError, match="cannot be"):
                entry(state=before).to(after)


def test_of_many_processes_one_gets_each_key(tmp_path):
    path = tmp_path / "journal.db"
    SqliteJournal(path).close()
    code = """
import sys
from trove_agents.guard import Entry, Pool, Purchase, SqliteJournal
journal = SqliteJournal(sys.argv[1])
sys.stdin.readline()
for n in range(50):
    if journal.add(Entry(wallet_id=1, key=str(n), fingerprint="f", micros=1)):
        print(n)
"""
    racing = [
        subprocess.Popen(
            [sys.executable, "-c", code, path], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )
        for _ in range(2)
    ]
    for each in racing:
        each.stdin.write("\n")
        each.stdin.flush()
    won = [each.communicate()[0].split() for each in racing]
    assert sorted(won[0] + won[1], key=int) == [str(n) for n in range(50)]
    assert [each.returncode for each in racing] == [0, 0]


def test_payments_stay_in_the_order_in_which_they_came(journal):
    for key in ("b", "a", "c"):
        journal.add(entry(key=key))
        there = journal.find(1, key)
        journal.replace(entry(key=key), there.to("running", created_at=0.0))
    assert [each.key for each in journal.those(1, ("running",))] == ["b", "a", "c"]


def test_the_payments_of_a_thread_without_their_results(journal):
    for key, step in enumerate(
        (Step(thread="t"), Step(thread="t", call="c"), Step(thread="t2"), Step(run="t"), None)
    ):
        journal.add(entry(key=str(key), step=step and to_header(step), result=b"1"))
    journal.add(entry(key="9", wallet_id=2, step=to_header(Step(thread="t"))))
    assert [(each.key, each.result) for each in journal.of_thread(1, "t")] == [("0", None), ("1", None)]
    strange = 'ü", %_\\'
    journal.add(entry(key="s", step=to_header(Step(thread=strange, step="1"))))
    assert [each.key for each in journal.of_thread(1, strange)] == ["s"]


def bought(number, usd_micros, tag="t"):
    return Purchase(transaction_id=number, tag=tag, micros=usd_micros)


def test_each_purchase_is_credit_once_and_each_wallet_has_its_own(journal):
    journal.book(1, [bought(1, 5), bought(2, 3, "u"), bought(1, 5)])
    journal.book(1, [bought(2, 3, "u")])
    journal.book(2, [bought(1, 7)])
    assert (journal.pool(1), journal.pool(2), journal.pool(3)) == (
        Pool(credit=8, purchases=2),
        Pool(credit=7, purchases=1),
        Pool(),
    )
    assert journal.purchases(1, "u") == [bought(2, 3, "u")]


def test_credit_is_set_aside_for_one_payment_and_comes_back_with_what_it_does_not_use(journal, tmp_path):
    for key in ("k", "l"):
        journal.add(entry(key=key))
    first, second = journal.find(1, "k"), journal.find(1, "l")
    assert not journal.draw(first)
    assert not journal.draw(first, [bought(1, 4)])  # not enough, and booked
    assert journal.pool(1).credit == 4
    assert journal.draw(first, [bought(1, 4), bought(2, 4)])
    other = SqliteJournal(tmp_path / "journal.db")
    assert not other.draw(second)
    assert (other.pool(1), other.id) == (Pool(credit=3, purchases=2), journal.id)
    running = first.to("running", drawn=5)
    journal.replace(first, running)
    assert not journal.draw(first)  # it is not intended any more
    settling = running.to("settling", settle_micros=2)
    journal.replace(running, settling)
    journal.replace(settling, settling.to("captured", drawn=2))
    assert journal.pool(1) == Pool(credit=6, purchases=2)
    assert other.draw(second)
    other.close()


def test_two_journals_are_not_one(journal, tmp_path):
    other = SqliteJournal(tmp_path / "other.db")
    assert other.id != journal.id
    other.close()
