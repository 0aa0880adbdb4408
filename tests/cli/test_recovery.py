"""``trove-agents wallet recover``: what a crash left in a journal, sorted out in wallet and journal."""

import json
from decimal import Decimal

import pytest
from typer.testing import CliRunner

from trove_agents import Trove
from trove_agents.cli.app import app
from trove_agents.guard import Guard, SqliteJournal

pytestmark = pytest.mark.usefixtures("no_server_named")


@pytest.fixture
def wallet(trove, request):
    return trove.wallet(request.node.name, budget_usd=5)


@pytest.fixture
def recover(trove, journal):
    def told(*words, where=trove.folder, status=0):
        given = ["wallet", "recover", "--journal", journal, "--data", where, *words]
        done = CliRunner().invoke(app, list(map(str, given)))
        assert done.exit_code == status, done.output
        return done

    return told


def crash(wallet, journal, key, state):
    """A payment as a program leaves it that is killed where the journal says ``state``."""
    kept = SqliteJournal(journal)
    with Guard(wallet, journal=kept).authorize("0.30", key=key, tool="search", vendor="acme"):
        running = kept.find(wallet.id, key)
        left = SqliteJournal(journal)
        kept.close()  # what the guard would write at the end of the block is not written
        if state == "settling":
            left.replace(running, running.to("settling", settle_micros=200_000))
        left.close()
        raise KeyboardInterrupt


def left(wallet, journal, key, state="running"):
    with pytest.raises(Exception, match="is closed"):
        crash(wallet, journal, key, state)


def test_what_ran_is_in_doubt_and_what_was_charged_is_booked(wallet, journal, recover):
    left(wallet, journal, "run-1/step-4")
    left(wallet, journal, "run-1/step-5", "settling")
    assert wallet.balance().held_usd == Decimal("0.6")
    about = f"  $0.30 for search from acme, wallet {wallet.id}"
    assert recover("--older-than", 0).stdout.splitlines() == [
        "run-1/step-4",
        about,
        "  in doubt: the program ended while the tool ran",
        "",
        "run-1/step-5",
        about,
        "  captured, $0.20 spent",
        "",
        "Sorted out: 2",
        f"In doubt: 1; see trove-agents wallet doubts --journal {journal}",
    ]
    found = wallet.balance()
    assert (found.total_spent, found.held_usd, found.in_doubt_usd) == (Decimal("0.2"), 0, Decimal("0.3"))
    again = recover("--older-than", 0).stdout
    assert again.startswith("There was nothing to sort out.\nIn doubt: 1;")


def test_programs_read_the_same(wallet, journal, recover):
    left(wallet, journal, "k", "settling")
    said = json.loads(recover("--older-than", 0, "--json").stdout)
    [receipt] = said.pop("recovered")
    assert (receipt["key"], receipt["state"], receipt["charged_usd"]) == ("k", "captured", "0.2")
    assert said == {"in_doubt": 0, "unsettled": 0, "failed": {}}


def test_what_a_program_may_be_making_is_left_alone(wallet, journal, recover):
    with Guard(wallet, journal=journal) as guard:
        with guard.authorize("0.30", key="k"):
            said = recover().stdout
            assert said == ("There was nothing to sort out.\nUnder way, or not to be sorted out yet: 1\n")
        assert guard.doubts() == []
    assert wallet.balance().total_spent == Decimal("0.3")


def test_what_somebody_settled_in_the_wallet_is_taken_over(wallet, trove, journal, recover):
    left(wallet, journal, "k")
    recover("--older-than", 0)
    [hold] = trove.wallets().list_holds(wallet.id, "in_doubt")
    trove.wallets().void(hold.id)
    assert "  voided, $0.30 is back in the budget\n" in recover().stdout


def test_a_wallet_of_another_server_with_the_same_ids_is_not_touched(journal, tmp_path, recover):
    with Trove.local(tmp_path / "mine") as mine, Trove.local(tmp_path / "other") as other:
        paying, strange = (each.wallet("agent", budget_usd=5) for each in (mine, other))
        assert paying.id == strange.id
        left(paying, journal, "k")
        held = other.wallets().hold(strange.id, "0.3")
        done = recover("--older-than", 0, where=tmp_path / "other", status=1)
        assert "not the wallets that the payment was made from" in done.stderr
        assert other.wallets().get_hold(held.id).state == "held"
        assert (strange.balance().held_usd, paying.balance().held_usd) == (Decimal("0.3"), Decimal("0.3"))


def test_one_wallet_does_not_keep_the_others_from_it(wallet, trove, journal, tmp_path, recover):
    left(wallet, journal, "k", "settling")
    with Trove.local(tmp_path / "other") as other:
        for number in range(wallet.id + 1):
            strange = other.wallet(f"agent-{number}", budget_usd=5)
        assert strange.id == wallet.id + 1
        left(strange, journal, "l", "settling")
    done = recover("--older-than", 0, status=1)
    assert "k\n" in done.stdout and "captured" in done.stdout
    assert "Under way, or not to be sorted out yet: 1" in done.stdout
    assert done.stderr.startswith(f"trove-agents: wallet {strange.id}: ")
    assert "nothing to sort out" in recover("--older-than", 0, "--wallet", wallet.id).stdout
