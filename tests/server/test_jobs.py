"""When jobs run, who runs them, and what becomes of one that fails. The clock is a number that the test sets."""

import logging
import subprocess
import sys
import threading
import time

import pytest

from trove_agents.embedded import Trove
from trove_agents.server.db import Database
from trove_agents.server.jobs import DAY, HOUR, Jobs

START = 20_000 * DAY + 10 * HOUR  # ten in the morning, UTC


class Clock:
    def __init__(self, seconds=START):
        self.seconds = seconds

    def __call__(self):
        return self.seconds * 10**9


@pytest.fixture
def clock():
    return Clock()


@pytest.fixture
def database(tmp_path, clock):
    database = Database.open(tmp_path, clock=clock)
    yield database
    database.close()


class Work:
    """Notes its turns, and returns what it is told."""

    def __init__(self, *results):
        self.turns, self.results = [], list(results)

    def __call__(self, turn):
        self.turns.append(turn)
        result = self.results.pop(0) if self.results else None
        if isinstance(result, Exception):
            raise result
        return result


def registry(database, **work):
    jobs = Jobs(database)
    for name, function in work.items():
        jobs.add(name, function, every_seconds=HOUR if name.startswith("hourly") else DAY)
    return jobs


def test_a_job_runs_once_in_each_period_that_a_server_sees(database, clock):
    work = Work()
    jobs = registry(database, daily=work)
    ran = []
    for hours in (0, 13, 14, 15, 37, 38, 39, 24 * 10, 24 * 10 + 1):
        clock.seconds = START + hours * HOUR
        ran.append((hours, jobs.run_due()))
    # Announced at 10:00, due at midnight, which is 14 hours later; later ones are due at midnight again
    assert [hours for hours, names in ran if names] == [14, 38, 240]
    assert [turn.now_ns // 10**9 for turn in work.turns] == [START + h * HOUR for h in (14, 38, 240)]


def test_jobs_run_in_the_order_of_registration(database, clock):
    order = []
    jobs = Jobs(database)
    for name in ("b", "a", "c"):
        jobs.add(name, lambda turn, name=name: order.append(name), every_seconds=HOUR)
    jobs.run_due()
    clock.seconds += HOUR
    assert jobs.run_due() == order == ["b", "a", "c"]


def test_what_a_turn_does_not_finish_goes_on_from_its_place(database, clock):
    work = Work("a", "b", None)
    jobs = registry(database, daily=work)
    jobs.run_due()
    clock.seconds += DAY
    for _ in range(5):
        jobs.run_due()
        jobs = registry(database, daily=work)  # as after a restart
        clock.seconds += 61
    assert [turn.place for turn in work.turns] == [None, "a", "b"]
    clock.seconds += DAY
    jobs.run_due()
    assert work.turns[-1].place is None


def test_a_failure_is_logged_and_stops_no_other_job(database, clock, caplog):
    broken, fine = Work("place", ValueError("disk on fire"), None), Work()
    jobs = registry(database, broken=broken, fine=fine)
    jobs.run_due()
    clock.seconds += DAY
    jobs.run_due()
    clock.seconds += 61
    with caplog.at_level(logging.ERROR):
        assert jobs.run_due() == ["broken"]
    assert "broken" in caplog.text and "disk on fire" in caplog.text
    assert len(fine.turns) == 1
    assert jobs.run_due() == []
    clock.seconds += HOUR  # tried again, from the beginning
    assert jobs.run_due() == ["broken"]
    assert broken.turns[-1].place is None


def test_a_turn_is_over_when_its_time_is_up(database, clock):
    def work(turn):
        steps = 0
        while not turn.over:
            steps += 1
            time.sleep(0.01)
        return str(steps)

    jobs = registry(database, slow=work)
    jobs.run_due()
    clock.seconds += DAY
    started = time.monotonic()
    assert jobs.run_due(seconds=0.1) == ["slow"]
    assert 0.1 <= time.monotonic() - started < 5


def test_closing_ends_the_turn_that_runs(database, clock):
    running = threading.Event()

    def work(turn):
        running.set()
        while not turn.over:
            time.sleep(0.01)
        return "here"

    jobs = registry(database, endless=work)
    jobs.run_due()
    clock.seconds += DAY
    jobs.keep_running()
    jobs.keep_running()
    assert running.wait(30)
    jobs.close()
    after = Work()
    clock.seconds += 61
    assert registry(database, endless=after).run_due() == ["endless"]
    assert after.turns[0].place == "here"


def test_a_clock_that_was_set_back_does_not_stop_the_jobs(database, clock):
    work = Work()
    jobs = registry(database, daily=work)
    clock.seconds += 1000 * DAY
    jobs.run_due()
    clock.seconds -= 1000 * DAY
    assert jobs.run_due() == ["daily"]
    assert jobs.run_due() == []
    clock.seconds += DAY
    assert jobs.run_due() == ["daily"]


def test_two_servers_on_one_database_share_the_work(database, clock, tmp_path):
    """One that holds a job keeps the other from it, and only for so long."""
    other = Database.open(tmp_path, clock=clock)
    entered, leave = threading.Event(), threading.Event()

    def first(turn):
        entered.set()
        assert leave.wait(30)

    second = Work()
    one, two = registry(database, daily=first, hourly=Work()), registry(other, daily=second, hourly=Work())
    one.run_due()
    clock.seconds += DAY
    thread = threading.Thread(target=one.run_due)
    thread.start()
    assert entered.wait(30)
    assert two.run_due() == ["hourly"]
    clock.seconds += 3 * HOUR  # the first is suspended: its claim is over
    assert two.run_due() == ["daily", "hourly"]
    leave.set()
    thread.join()
    assert len(second.turns) == 1
    clock.seconds += 1  # the late end of the first changed nothing
    assert two.run_due() == one.run_due() == []
    other.close()


PROCESS = """
import pathlib, sys, time
from trove_agents.server.db import Database
from trove_agents.server.jobs import DAY, Jobs
folder, seconds = pathlib.Path(sys.argv[1]), int(sys.argv[2])
database = Database.open(folder, clock=lambda: seconds * 10**9)
jobs = Jobs(database)
def work(turn):
    print("ran", flush=True)
    time.sleep(0.3)
jobs.add("daily", work, every_seconds=DAY)
sys.stdin.readline()
jobs.run_due()
database.close()
"""


def test_of_several_processes_one_runs_the_job(database, clock, tmp_path):
    registry(database, daily=Work()).run_due()
    processes = [
        subprocess.Popen(
            [sys.executable, "-c", PROCESS, str(tmp_path), str(START + DAY)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        for _ in range(3)
    ]
    for process in processes:
        process.stdin.write("go\n")
        process.stdin.flush()
    assert sorted(process.communicate(timeout=60)[0] for process in processes) == ["", "", "ran\n"]
    assert [process.returncode for process in processes] == [0, 0, 0]


def long_ago(folder):
    """Makes every job of a state directory due."""
    from sqlalchemy import update

    from trove_agents.server.db.tables import jobs

    overdue = update(jobs).values(due_us=1)
    database = Database.open(folder)
    database.write(lambda tx: tx.run(overdue))
    database.close()


def wait_for(condition):
    deadline = time.monotonic() + 30
    while not (found := condition()):
        assert time.monotonic() < deadline
        time.sleep(0.01)
    return found


def announced(trove):
    from trove_agents.server.jobs import _ALL

    with trove.server.database.read() as db:
        return db.all(_ALL)


def test_an_embedded_server_runs_due_work_when_it_opens(tmp_path):
    with Trove.local(tmp_path) as trove:
        wait_for(lambda: announced(trove))
        agent = trove.client("main")
        agent.write("a.txt", "1")
        assert agent.list_snapshots() == []
    long_ago(tmp_path)
    with Trove.local(tmp_path) as trove:
        agent = trove.client("main")
        (taken,) = wait_for(agent.list_snapshots)
        assert taken.snapshot_id.startswith("auto-")
        agent.write("a.txt", "2")
        assert agent.restore_snapshot(taken.snapshot_id) == 1
        assert agent.read_text("a.txt") == "1"


def test_a_served_state_runs_due_work(tmp_path, serving):
    with serving(tmp_path, "--credentials-file", "keys.json") as server:
        from trove_agents import TroveClient

        keys = server.credentials("keys.json")
        with TroveClient(keys["key"], "main", base_url=keys["base_url"]) as agent:
            agent.write("a.txt", "1")
        assert server.stop() == (0, "")
    long_ago(tmp_path / "state")
    with serving(tmp_path, "--credentials-file", "keys.json") as server:
        base_url = server.credentials("keys.json")["base_url"]
        with TroveClient(keys["key"], "main", base_url=base_url) as agent:
            assert wait_for(agent.list_snapshots)[0].snapshot_id.startswith("auto-")
        assert server.stop() == (0, "")


def test_opening_does_not_wait_for_due_work(tmp_path):
    with Trove.local(tmp_path) as trove:
        wait_for(lambda: announced(trove))
        for number in range(20):
            trove.client(f"n{number}").write("a.txt", "x")
    long_ago(tmp_path)
    times = []
    for _ in range(3):
        started = time.perf_counter()
        with Trove.local(tmp_path) as trove:
            times.append(time.perf_counter() - started)
    assert min(times) < 0.1
