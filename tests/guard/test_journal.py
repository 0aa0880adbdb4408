"""The journal's file: private, durable, and moved on by one at a time."""

import os
import sqlite3
import stat
import subprocess
import sys
from itertools import product

import pytest

from trove_agents.guard import Entry, SqliteJournal
from trove_agents.guard.states import FOLLOWS


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


def test_only_one_of_two_moves_it_on(journal, tmp_path):
    journal.add(entry())
    there = journal.find(1, "k")
    other = SqliteJournal(tmp_path / "journal.db")
    assert other.replace(there, there.to("running", hold_id=7))
    assert not journal.replace(there, there.to("denied"))
    assert (journal.find(1, "k").state, journal.find(1, "k").hold_id) == ("running", 7)
    other.close()


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
from trove_agents.guard import Entry, SqliteJournal
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
