"""The group commit over a store in memory, so that every point of it can be interrupted."""

import dis
import sys
import threading
import time

import pytest

from trove_agents.server.db import commit as module
from trove_agents.server.db.commit import Closed, CommitFailed, GroupCommit

SECONDS = 20.0  # only guards against hanging


class Memory:
    """Transactions over a list. It insists on being used by one thread at a time, and properly."""

    def __init__(self):
        self.kept = []
        self.batches = []
        self.durable = []
        self.fault = None  # an exception for the next commit
        self._busy = threading.Lock()
        self._work = None

    def begin(self, *, durable):
        if not self._held():
            assert self._busy.acquire(blocking=False), "two leaders"
            self._holder = threading.get_ident()
        assert self._work is None
        self._work = []
        self.durable.append(durable)
        return self

    def _held(self):
        return self._busy.locked() and self._holder == threading.get_ident()

    def add(self, value):
        self._work.append(value)

    def lose(self):
        """What SQLite does when the disk is full."""
        self._work = None

    def open(self):
        return self._work is not None

    def savepoint(self):
        self._mark = len(self._work)

    def undo(self):
        del self._work[self._mark :]

    def keep(self):
        pass

    def commit(self, marks):
        marks.extend(map(self._commit, (None,)))

    def _commit(self, _):
        if self.fault is not None:
            fault, self.fault = self.fault, None
            raise fault
        self.kept += self._work
        self.batches.append(self._work)
        self._work = None
        return True

    def rollback(self):
        self._work = None

    def release(self):
        assert self._work is None
        if self._held():
            self._busy.release()


class Together:
    """Writers that are made to queue behind a leader, so that they come as one batch."""

    def __init__(self, group, memory):
        self.group, self.memory = group, memory
        self.results = {}
        self.threads = []
        self.gate = threading.Event()
        self.leading = threading.Event()

    def lead(self, name="leader"):
        def wait(tx):
            tx.add(name)
            self.leading.set()
            assert self.gate.wait(SECONDS)

        self.start(name, wait)
        assert self.leading.wait(SECONDS)

    def start(self, name, function, **more):
        def run():
            try:
                self.results[name] = self.group.write(function, **more)
            except BaseException as error:
                self.results[name] = error

        thread = threading.Thread(target=run, name=name, daemon=True)
        self.threads.append(thread)
        thread.start()

    def queue(self, name, function=None, **more):
        before = len(self.group._pending)
        self.start(name, function or (lambda tx: tx.add(name)), **more)
        limit = time.monotonic() + SECONDS
        while len(self.group._pending) == before and time.monotonic() < limit:
            time.sleep(0.0005)
        assert len(self.group._pending) == before + 1

    def finish(self):
        self.gate.set()
        for thread in self.threads:
            thread.join(SECONDS)
            assert not thread.is_alive(), f"{thread.name} hangs"


@pytest.fixture
def memory():
    return Memory()


@pytest.fixture
def group(memory):
    return GroupCommit(memory)


@pytest.fixture
def together(group, memory):
    return Together(group, memory)


def test_a_lone_writer_gets_its_value(group, memory):
    assert group.write(lambda tx: tx.add(1) or "value") == "value"
    assert memory.kept == [1]


def test_what_queued_behind_a_leader_is_one_batch(together, memory):
    together.lead()
    for name in "abc":
        together.queue(name)
    together.finish()
    assert memory.batches == [["leader"], ["a", "b", "c"]]


def test_a_batch_is_durable_if_one_in_it_must_be(group, memory):
    group.write(lambda tx: tx.add("alone"), durable=False)
    group.write(lambda tx: tx.add("must"))
    assert memory.durable == [False, True]
    together = Together(group, memory)
    together.lead()
    before = len(memory.durable)
    for name in "abc":
        together.queue(name, durable=name == "b")
    together.finish()
    together = Together(group, memory)
    together.lead()
    for name in "de":
        together.queue(name, durable=False)
    together.finish()
    assert memory.durable[before:] == [True, True, False]
    assert memory.batches[-3:] == [["a", "b", "c"], ["leader"], ["d", "e"]]


def test_a_request_that_fails_takes_only_itself_back(together, memory):
    def fail(tx):
        tx.add("half")
        raise ValueError("no")

    together.lead()
    together.queue("a")
    together.queue("bad", fail)
    together.queue("b")
    together.finish()
    assert memory.batches[1] == ["a", "b"]
    assert isinstance(together.results["bad"], ValueError)
    assert together.results["a"] is None


def test_a_lone_request_that_fails_leaves_nothing(group, memory):
    def fail(tx):
        tx.add("half")
        raise ValueError("no")

    with pytest.raises(ValueError, match="no"):
        group.write(fail)
    group.write(lambda tx: tx.add(1))
    assert memory.batches == [[1]]


def test_a_commit_that_fails_is_told_to_everybody(together, memory):
    def refuse(tx):
        raise ValueError("its own")

    cause = OSError("disk full")
    together.lead()
    together.queue("a")
    together.queue("refused", refuse)

    def break_commit(tx):
        memory.fault = cause

    together.queue("b", break_commit)
    together.finish()
    for name in ("a", "b", "refused"):  # the last for what the others had done, perhaps
        assert isinstance(together.results[name], CommitFailed)
        assert together.results[name].__cause__ is cause
    assert memory.kept == ["leader"]
    together.group.write(lambda tx: tx.add("later"))
    assert memory.kept == ["leader", "later"]


def test_a_transaction_that_the_database_drops_is_told_to_everybody(together, memory):
    def drop(tx):
        tx.lose()
        raise OSError("disk full")

    together.lead()
    together.queue("a")
    together.queue("bad", drop)
    together.queue("b")
    together.finish()
    assert memory.kept == ["leader"]
    assert all(isinstance(together.results[name], CommitFailed) for name in ("a", "bad", "b"))


def test_dropping_the_transaction_in_silence_is_noticed(group, memory):
    with pytest.raises(CommitFailed):
        group.write(lambda tx: tx.lose())
    group.write(lambda tx: tx.add(1))
    assert memory.kept == [1]


def test_writing_inside_a_write_is_refused(group, memory):
    with pytest.raises(RuntimeError, match="inside"):
        group.write(lambda tx: group.write(lambda tx: None))
    group.write(lambda tx: tx.add(1))
    assert memory.kept == [1]


def test_a_pause_keeps_writers_waiting(group, memory):
    paused = group.pause()
    waiting = Together(group, memory)
    waiting.queue("a")
    assert memory.kept == []
    assert group.pause(seconds=0.01) is None
    group.resume(paused)
    waiting.finish()
    assert memory.kept == ["a"]


def test_a_pause_waits_for_the_leader(together, group, memory):
    together.lead()
    together.queue("a")
    seen = []
    thread = threading.Thread(target=lambda: seen.append((group.pause(), list(memory.kept))))
    thread.start()
    together.gate.set()
    thread.join(SECONDS)
    ((paused, kept),) = seen
    assert kept == ["leader"]
    group.resume(paused)
    together.finish()
    assert memory.kept == ["leader", "a"]


def test_closing_lets_what_waits_finish_and_refuses_the_rest(together, group, memory):
    together.lead()
    together.queue("a")
    thread = threading.Thread(target=group.close)
    thread.start()
    together.finish()
    thread.join(SECONDS)
    assert memory.kept == ["leader", "a"]
    with pytest.raises(Closed):
        group.write(lambda tx: None)


class Interrupt(BaseException):
    """Thrown into a thread, as SIGINT throws KeyboardInterrupt into the main one."""


# After these the interpreter looks for signals (CHECK_EVAL_BREAKER in ceval.c): nowhere else can one strike
LOOKS = {"CALL", "CALL_FUNCTION_EX", "CALL_KW", "JUMP_BACKWARD", "RESUME"}


class Interrupted:
    """Runs a function in this thread and throws into it at the n-th place of the group commit where a signal could,
    and, if asked to, again some places later."""

    def __init__(self, at, *again):
        self.at, self.struck, self.last = [at, *again], False, {}

    def __call__(self, function):
        before = sys.gettrace()
        sys.settrace(self.enter)
        try:
            return function()
        finally:
            sys.settrace(before)

    def enter(self, frame, event, _):
        if frame.f_code.co_filename != module.__file__:
            return None
        frame.f_trace_opcodes = True
        frame.f_trace_lines = False
        return self._step

    def _step(self, frame, event, _):
        if event == "opcode" and self.at:
            last = self.last.get(frame)
            self.last[frame] = frame.f_lasti
            if last is not None and dis.opname[frame.f_code.co_code[last]] in LOOKS:
                self.at[0] -= 1
                if self.at[0] < 0:
                    self.struck = True
                    del self.at[0]
                    raise Interrupt
        return self._step


def every_point(scenario):
    """Runs a scenario once for each point at which it can be interrupted; how many there were."""
    point = 0
    while True:
        interrupted = Interrupted(point)
        memory = Memory()
        scenario(interrupted, memory, GroupCommit(memory))
        if not interrupted.struck:
            return point
        point += 1


def outcome(interrupted, group, function):
    """Whether the interrupt came through."""
    try:
        interrupted(lambda: group.write(function))
    except Interrupt:
        return False
    return True


def sound(group, memory):
    """The group commit is at rest and works."""
    assert group._pending == [] and group._leader is None and group._batch == []
    result = Together(group, memory)
    result.start("after", lambda tx: tx.add("after"))
    result.finish()
    assert result.results == {"after": None}, result.results
    assert memory.kept.count("after") == 1


def test_a_lone_leader_may_be_interrupted_anywhere():
    kept = set()

    def scenario(interrupted, memory, group):
        through = outcome(interrupted, group, lambda tx: tx.add("own"))
        assert memory.kept in (["own"], []) and (memory.kept == ["own"] or not through)
        kept.add(len(memory.kept))
        sound(group, memory)

    assert every_point(scenario) > 20
    assert kept == {0, 1}


def test_a_leader_with_followers_may_be_interrupted_anywhere():
    def scenario(interrupted, memory, group):
        others = Together(group, memory)

        def own(tx):
            tx.add("own")
            if not others.threads:
                sys.settrace(None)  # the others queue while this one leads
                others.queue("a")
                others.queue("b", refuse)
                others.queue("c")
                sys.settrace(interrupted.enter)

        through = outcome(interrupted, group, own)
        others.finish()
        if others.threads:
            assert [name for name in memory.kept if name != "own"] == ["a", "c"]
            assert isinstance(others.results.pop("b"), ValueError)
            assert others.results == {"a": None, "c": None}
        assert memory.kept.count("own") == 1 or (not through and "own" not in memory.kept)
        sound(group, memory)

    assert every_point(scenario) > 20


def test_a_leader_may_be_interrupted_twice():
    for first in range(30):
        for second in range(12):
            memory = Memory()
            group = GroupCommit(memory)
            outcome(Interrupted(first, second), group, lambda tx: tx.add("own"))
            assert memory.kept in ([], ["own"])
            sound(group, memory)


def refuse(tx):
    tx.add("half")
    raise ValueError("refused")


def test_a_waiter_may_be_interrupted_anywhere():
    """It waits behind a leader, in the middle of the queue, and may be done by another or be given the lead."""

    def scenario(interrupted, memory, group, first):
        others = Together(group, memory)
        others.lead()
        if not first:
            others.queue("a")
        results = []
        victim = threading.Thread(
            target=lambda: results.append(outcome(interrupted, group, lambda tx: tx.add("own"))), daemon=True
        )
        victim.start()
        limit = time.monotonic() + SECONDS
        while len(group._pending) < 2 - first and victim.is_alive() and time.monotonic() < limit:
            time.sleep(0.0002)
        others.start("b", lambda tx: tx.add("b"))
        others.gate.set()
        victim.join(SECONDS)
        assert not victim.is_alive(), "the victim hangs"
        others.finish()
        assert set(memory.kept) - {"own"} == ({"leader", "b"} if first else {"leader", "a", "b"})
        assert memory.kept.count("own") == 1 or (results == [False] and "own" not in memory.kept)
        assert len(memory.kept) == len(set(memory.kept))
        sound(group, memory)

    for first in (True, False):
        assert every_point(lambda i, m, g, first=first: scenario(i, m, g, first)) > 8


def test_a_pause_may_be_interrupted_anywhere():
    def scenario(interrupted, memory, group):
        try:
            interrupted(group.pause)
        except Interrupt:
            sound(group, memory)
        else:
            assert not interrupted.struck

    assert every_point(scenario) > 3


def test_an_interrupt_inside_another_writers_function_spares_that_writer(together, group, memory):
    """The leader runs everybody's functions: Ctrl-C lands in whichever is running."""
    struck = []

    def strikes_once(tx):
        tx.add("a")
        if not struck:
            struck.append(threading.current_thread().name)
            raise KeyboardInterrupt

    together.lead()
    together.queue("first")
    together.queue("a", strikes_once)
    together.queue("b")
    together.finish()
    assert struck == ["first"]
    assert isinstance(together.results.pop("first"), KeyboardInterrupt)
    assert together.results == {"leader": None, "a": None, "b": None}
    assert memory.kept == ["leader", "a", "b"]
    sound(group, memory)
