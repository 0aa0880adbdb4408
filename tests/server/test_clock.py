"""A clock that is set while the server works, forward and back: nothing that was answered is lost or told out of
order. What goes by the clock alone is tried in its own room: leases, jobs, old answers.
"""

import random
import time

import pytest

from trove_agents.server.jobs import Turn
from trove_agents.server.timelines import Collection

HOUR, DAY = 3600, 24 * 3600
LARGE = b"large " * 20_000


class Clock:
    """Of a server's database and blobs."""

    def __init__(self, trove):
        self.ahead = 0.0
        self.database, self.blobs = trove.server.database, trove.server.blobs
        self.database.now_ns = lambda: int(self.seconds() * 1e9)
        self.blobs._objects._clock = self.seconds
        self.write = self.database.write

    def seconds(self):
        return time.time() + self.ahead

    def sweep(self):
        collection, turn = Collection(self.database, self.blobs), Turn(self.database.now_ns())
        for job in (collection.sweep_contents, collection.sweep_blobs, collection.sweep_objects):
            assert job(turn) is None

    def jump_before_the_next_commit(self, seconds):
        """Everything before was done on the old time; what is old by the new one is swept."""

        def write(function, **more):
            self.database.write = self.write
            self.ahead += seconds
            self.sweep()
            return self.write(function, **more)

        self.database.write = write


@pytest.fixture
def place():
    """No engine has a clock of its own that counts."""
    return lambda folder: folder


@pytest.fixture
def clock(trove):
    return Clock(trove)


@pytest.mark.parametrize("jump", [-2 * DAY, -HOUR, 11 * HOUR, 25 * HOUR])
@pytest.mark.parametrize("known", [False, True], ids=["new", "stored before"])
def test_between_a_blob_and_its_row(api, clock, jump, known):
    assert api.put("f", b"before").status == 200
    if known:
        assert api.put("g", LARGE).status == 200
        assert api.delete("g").status == 200
    clock.jump_before_the_next_commit(jump)
    answer = api.put("f", LARGE)
    if answer.status != 200:
        assert (answer.status, answer.json["code"]) == (503, "unavailable")
        assert jump > 11 * HOUR
        assert api.get("f").body == b"before"
        assert api.put("f", LARGE).status == 200
    for _ in range(2):
        clock.sweep()
        assert api.get("f").body == LARGE
        clock.ahead += 3 * DAY


@pytest.mark.sandbox
def test_while_a_command_runs(api, clock):
    api.write("f", "before")
    calls = []

    def write(function, **more):
        calls.append(function)
        if len(calls) == 2:  # the lock was taken; this commits what the command did
            clock.ahead += 25 * HOUR
            clock.sweep()
        return clock.write(function, **more)

    clock.database.write = write
    answer = api("POST", "/v1/exec", body={"command": "yes | head -c 100000 > large; echo after > f"})
    # The lock's time was up: who holds it now may have begun from what was there before
    assert answer.status == 409
    assert api.get("f").body == b"before"
    assert api("POST", "/v1/exec", body={"command": "cat f; ls"}).json["stdout"] == "beforef\n"


def test_versions_events_and_reads_keep_their_order(api, clock):
    chance, written, told = random.Random(5), [], []
    for number in range(60):
        clock.ahead = chance.choice([0, -400 * DAY, 400 * DAY, chance.uniform(-HOUR, HOUR)])
        api.write(
            "f", str(number), headers=[("X-Trove-Step", 'thread="t", step="s"'), ("X-Trove-Reference", "1")]
        )
        written.append((api("GET", "/v1/files/stat", query={"path": "f"}).json["version"], str(number)))
    versions = [version for version, _ in written]
    assert versions == sorted(set(versions))
    clock.ahead = 0
    for version, text in written:
        assert api.get("f", query={"at": str(version)}).body.decode() == text
    cursor, query = None, {"types": "file.written", "since": "2000-01-01T00:00:00Z"}
    while True:
        page = api.events(**query, **({"cursor": cursor} if cursor else {}))
        told += [event["created_at"] for event in page["events"]]
        if (cursor := page["next_cursor"]) is None:
            break
    assert len(told) == len(written)
    assert told == sorted(set(told), reverse=True)
    history = api("GET", "/v1/history", query={"path": "f"}).json["entries"]
    assert [entry["version"] for entry in history] == versions[::-1]
