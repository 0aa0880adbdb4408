"""The parts of the kit: what strikes when, what is drawn, what a vendor remembers, and what a sheet says."""

import subprocess
import sys
from collections import Counter
from decimal import Decimal

import pytest

from trove_agents.client.transport import Outgoing, Reply
from trove_agents.errors import TroveConnectionError, TroveConnectionTimeoutError
from trove_agents.guard import faults
from trove_agents.guard.faults import (
    ENDINGS,
    Books,
    Crash,
    Crashes,
    Fault,
    FaultyTransport,
    Late,
    Moments,
    Pairs,
    Run,
    Scenario,
    Sheet,
    Stem,
    Step,
    Vendor,
    history,
    jobs,
    killed,
    markdown,
    play,
    played,
    table,
)
from trove_agents.guard.faults.__main__ import main
from trove_agents.guard.faults.scenario import counted


def passed(moments, names):
    """Those that were reached before the crash."""
    reached = []
    try:
        for name in names:
            moments.reached(name)
            reached.append(name)
    except Crash:
        pass
    return reached


def test_a_fault_strikes_at_its_moment_and_the_next_is_counted_from_there():
    happened = []
    moments = Moments([Fault("ahead", 2), Fault("back", 1), Fault("ahead", 3)], happened.append)
    for name in "abcdefgh":
        moments.reached(name)
    assert happened == ["ahead", "back", "ahead"]
    assert [name for _, name in moments.struck] == ["b", "c", "f"]


def test_faults_of_messages_count_messages():
    moments = Moments([Fault("lost", 2)])
    assert passed(moments, "abc") == ["a", "b", "c"]
    assert [moments.message(name) for name in "xyz"] == [None, "lost", None]


def test_after_a_crash_nothing_has_an_effect():
    moments = Moments([Fault("crash", 3)])
    assert passed(moments, "abcd") == ["a", "b"]
    assert passed(moments, "e") == []
    assert moments.dead


def test_a_failure_of_the_power_takes_what_was_not_synced():
    undone = []
    moments = Moments([Fault("power-fails")])
    moments.unsynced += [lambda: undone.append(1), lambda: undone.append(2)]
    assert passed(moments, "a") == []
    assert undone == [2, 1]


def test_nobody_makes_other_things_happen():
    with pytest.raises(ValueError, match="restart"):
        Moments([Fault("restart")]).reached("a")


class Server:
    """A transport that counts."""

    retries = False

    def __init__(self):
        self.answered = 0

    def send(self, request):
        self.answered += 1
        return Reply(200, {}, b"%d" % self.answered)


REQUEST = Outgoing("POST", "/api/holds/17/capture", "", (), None, None, 1.0)


@pytest.mark.parametrize(
    ("what", "said", "answered"),
    [
        (None, (200, b"1"), 1),
        ("twice", (200, b"2"), 2),
        ("busy", 503, 0),
        ("garbled", 502, 1),
        ("unsent", TroveConnectionError, 0),
        ("lost", TroveConnectionError, 1),
        ("late", TroveConnectionTimeoutError, 0),
    ],
)
def test_what_happens_to_a_request(what, said, answered):
    server, late = Server(), Late()
    moments = Moments([Fault(what)] if what else [])
    transport = FaultyTransport(lambda: server, moments, late, retries=False)
    try:
        reply = transport.send(REQUEST)
    except TroveConnectionError as error:
        assert type(error) is said
        assert error.may_have_committed == (what != "unsent")
    else:
        assert said in (reply.status, (reply.status, reply.body))
    assert server.answered == answered
    assert [name for _, name in moments.struck] == (["POST /api/holds/*/capture"] if what else [])
    late.arrive()
    late.arrive()
    assert server.answered == answered + (what == "late")


def test_a_vendor_remembers(tmp_path):
    vendor = Vendor(tmp_path / "charges")
    assert (vendor.took_usd(), vendor.charges()) == (0, {})
    for key in "aba":
        vendor.charge(key, Decimal("0.1"))
    again = Vendor(tmp_path / "charges", idempotent=True)
    again.charge("a", Decimal("0.1"))
    assert (again.took_usd(), again.charges()) == (Decimal("0.3"), {"a": 2, "b": 1})


def test_a_sum_says_what_is_in_it():
    assert counted(Decimal("2.013")) == Counter(a=3, b=1, d=2)
    for wrong in ("-0.1", "0.0001"):
        with pytest.raises(ValueError, match="no sum"):
            counted(Decimal(wrong))


def test_the_same_seed_draws_the_same_and_what_was_printed_is_read():
    drawn = [history(f"1/{number}") for number in range(50)]
    assert drawn == [history(f"1/{number}") for number in range(50)]
    assert drawn != [history(f"2/{number}") for number in range(50)]
    assert [Scenario.of(str(each)) for each in drawn] == drawn
    assert {step.ending for each in drawn for step in each.steps} == set(ENDINGS)
    with pytest.raises(ValueError, match="no scenario"):
        Scenario.of('{"steps": 1}')


class Honest:
    """Pays, and writes it down when it knows: what a crash between the two takes, is lost."""

    name = "honest"
    faults = frozenset({"crash"})
    knows_keys = True

    def open(self, place, moments):
        return Notebook(place.folder / "spent", moments)

    def happens(self, what, place):
        pass

    def close(self):
        pass


class Notebook:
    def __init__(self, path, moments):
        self.path, self.moments = path, moments

    def spent(self):
        return self.path.read_text().split() if self.path.exists() else []

    def pay(self, tool, price_usd, key):
        self.moments.reached("before the payment")
        tool()
        self.moments.reached("before it is written down")
        with self.path.open("a") as out:
            out.write(f"{price_usd} ")

    def recover(self):
        pass

    def books(self):
        return Books(spent=sum(map(Decimal, self.spent()), Decimal(0)))

    def audit(self, charged):
        return [] if len(self.spent()) == sum(charged.values()) else ["lines are missing"]

    def close(self):
        pass


def test_every_moment_of_a_payment_is_taken_and_every_loss_seen(tmp_path):
    runs = list(
        Crashes("returns").runs(
            lambda each: played(Honest(), each, tmp_path, f"{len(list(tmp_path.iterdir()))}")
        )
    )
    once = [run for run in runs if len(run.scenario.lives) == 1]
    # Asked again at the end it pays again: the vendor took it twice at least
    assert [(run.struck[0][1], run.double, run.lost) for run in once if run.struck] == [
        ("before the payment", Decimal("0.01"), 0),
        ("before the charge", Decimal("0.01"), 0),
        ("after the charge", Decimal("0.02"), Decimal("0.01")),
        ("before it is written down", Decimal("0.02"), Decimal("0.01")),
        ("before the program goes on", Decimal("0.02"), 0),
    ]
    assert [run.exposed for run in once] == [0, 0, Decimal("0.01"), Decimal("0.01"), 0, 0]
    assert not any(run.sound for run in runs)
    assert {run.complaints for run in runs} == {(), ("lines are missing",)}


def test_what_is_beyond_the_budget_is_seen(tmp_path):
    run = played(Honest(), Scenario((Step("d"), Step("c")), (), Decimal(1)), tmp_path, "case")
    assert (run.took, run.overshoot, run.crashes) == (Decimal("2.2"), Decimal("1.2"), 0)


def test_a_program_goes_on_where_it_was(tmp_path):
    scenario = Scenario(
        (Step("a"), Step("b"), Step("c", "fails")), ((Fault("crash", 6),), (Fault("crash", 4),))
    )
    run = played(Honest(), scenario, tmp_path, "case")
    assert [name for _, name in run.struck] == ["before the payment", "before it is written down"]
    assert (run.lives, run.crashes, run.complete) == (3, 2, True)
    assert Vendor(tmp_path / "case" / "charges").charges() == {"a": 2, "b": 3, "c": 1}


def test_who_does_not_know_keys_is_not_asked_again_for_what_has_returned(tmp_path):
    class Forgetful(Honest):
        knows_keys = False

    steps = (Step("a"), Step("a"), Step("b", "charges-and-fails"), Step("b"))
    run = played(Forgetful(), Scenario(steps), tmp_path, "case")
    assert Vendor(tmp_path / "case" / "charges").charges() == {"a": 1, "b": 2}
    assert (run.double, run.lost) == (Decimal("0.01"), Decimal("0.01"))


def test_what_a_bench_cannot_bear_is_left_out(tmp_path):
    [run] = Pairs("returns", "rival-pays").runs(lambda each: played(Honest(), each, tmp_path, "case"))
    assert (run.struck, run.complete) == ((), False)


def test_a_vendor_that_knows_keys_again_is_charged_once(tmp_path):
    run = played(Honest(), Scenario((Step("a"), Step("a")), (), idempotent=True), tmp_path, "case")
    assert (run.took, run.double, run.spent, run.surplus) == (
        Decimal("0.001"),
        0,
        Decimal("0.003"),
        Decimal("0.002"),
    )


def test_a_sheet_adds_up(tmp_path):
    one = play(Honest(), [Crashes("returns")], tmp_path)
    (tmp_path / "other").mkdir()
    two = play(Honest(), [Pairs("returns", "ahead"), Crashes("fails")], tmp_path / "other")
    both = Sheet("both")
    both.add_all(one)
    both.add_all(two)
    assert (both.runs, both.took, both.lost) == (
        one.runs + two.runs,
        one.took + two.took,
        one.lost + two.lost,
    )
    assert both.lost and not both.sound
    assert len(both.examples) == 20
    assert all(
        (isinstance(each, Run) and "lost" in str(each)) or "double" in str(each) for each in both.examples
    )
    head, line = str(both).splitlines()
    assert head.split() == [
        "subject",
        "runs",
        "crashes",
        "faults",
        "vendor",
        "took",
        "ledger",
        "spent",
        "in",
        "doubt",
        "lost",
        "double",
        "overshoot",
        "seconds",
    ]
    assert line.split()[:2] == ["both", str(both.runs)]
    assert table([one, two]).count("\n") == 2
    assert markdown([one]).splitlines()[1].startswith("| --- | ---: |")


def test_all_endings_are_among_the_jobs_and_blocks_of_histories():
    found = jobs(7, 120)
    assert {each.ending for each in found if isinstance(each, Crashes | Pairs)} == set(ENDINGS)
    assert [each.numbers for each in found[-3:]] == [range(50), range(50, 100), range(100, 120)]


def test_the_command_replays(tmp_path, capsys):
    scenario = Scenario((Step("a"),), ((Fault("lost"), Fault("crash")),))
    assert main(["--replay", str(scenario), "--folder", str(tmp_path)]) == 0
    lost, crash, said = capsys.readouterr().out.splitlines()
    assert lost.split() == ["lost", "GET", "/api/capabilities"]
    assert crash.startswith("crash")
    assert said.startswith("sound [lost GET /api/capabilities; crash")


def test_the_command_plays_kills_and_prints_the_sheet(capsys):
    options = ["--endings", "--histories", "3", "--kills", "2", "--workers", "1", "--seed", "1", "--markdown"]
    assert main([*options, "--bench", "trove_agents.guard.faults.ours:GuardBench"]) == 0
    seed, _, head, _, row = capsys.readouterr().out.splitlines()
    assert seed.startswith("seed 1, in ")
    assert head.startswith("| subject | runs |")
    cells = row.strip("| ").split(" | ")
    assert cells[0] == "trove-agents Guard"
    assert int(cells[1]) > 3
    assert cells[7:10] == ["0", "0", "0"]


def test_a_life_that_fails_by_itself_says_so(tmp_path, capfd):
    (tmp_path / "kill-1").write_text("no folder")
    with Stem("trove_agents.guard.faults.ours:GuardBench", tmp_path) as stem:
        with pytest.raises(RuntimeError, match="kill-1 failed"):
            list(killed(stem, 1, 1))
    assert "FileExistsError" in capfd.readouterr().err


def test_the_command_says_what_is_wrong_with_a_name():
    with pytest.raises(ValueError, match="there is no bench 'nowhere:Bench'"):
        main(["--bench", "nowhere:Bench", "--replay", str(Scenario((Step("a"),)))])


def test_its_help_needs_no_server():
    code = """
import sys
sys.modules["starlette"] = sys.modules["sqlalchemy"] = None
sys.argv = ["faults", "--help"]
from trove_agents.guard.faults.__main__ import main
main()
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60)
    assert (done.returncode, "--replay SCENARIO" in done.stdout) == (0, True), done.stderr


def test_all_is_sorted_and_there():
    assert faults.__all__ == sorted(faults.__all__, key=lambda name: (not name.isupper(), name))
    assert all(hasattr(faults, name) for name in faults.__all__)
