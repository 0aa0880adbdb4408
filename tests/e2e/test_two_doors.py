"""One state directory, served over HTTP and opened in this process at the same time."""

import threading

import pytest

from trove_agents.embedded import Trove


@pytest.fixture
def opened(server):
    """The same state, in process. Its own keys differ: the served ones go to their own file."""
    with Trove.local(server.folder / "state") as trove:
        yield trove


@pytest.fixture
def name(request):
    return request.node.name[:60]


def test_what_one_writes_the_other_reads(server, opened, name):
    with server.client(name) as outside, opened.client(name) as inside:
        if opened.credentials.workspace_id != server.workspace_id:
            pytest.fail("the embedded server made a workspace of its own")
        outside.write("a", "from outside")
        assert inside.read_text("a") == "from outside"
        inside.write("b", "from inside")
        assert outside.read_text("b") == "from inside"
        taken = inside.create_snapshot()
        outside.delete("a")
        outside.restore_snapshot(taken.snapshot_id)
        assert inside.read_text("a") == "from outside"


def test_both_write_at_once(server, opened, name):
    def write(client, side):
        for number in range(100):
            client.write(f"{side}/{number}", str(number))

    with server.client(name) as outside, opened.client(name) as inside:
        writers = [threading.Thread(target=write, args=pair) for pair in ((outside, "out"), (inside, "in"))]
        for writer in writers:
            writer.start()
        for writer in writers:
            writer.join()
        assert len(outside.list_dir("out")) == len(outside.list_dir("in")) == 100
    told = server.events(namespace=name)
    assert len(told) == 200
    times = [event["created_at"] for event in told]
    assert times == sorted(set(times))


@pytest.mark.sandbox
def test_commands_of_both_take_turns(server, opened, name):
    """Two working copies of one namespace: each command finds what the other process's left."""

    def run(client, side):
        for number in range(5):
            client.exec(f"echo {side} {number} >> log")

    with server.client(name) as outside, opened.client(name) as inside:
        runners = [threading.Thread(target=run, args=pair) for pair in ((outside, "out"), (inside, "in"))]
        for runner in runners:
            runner.start()
        for runner in runners:
            runner.join()
        lines = inside.read_text("log").splitlines()
        assert sorted(lines) == sorted(f"{side} {number}" for side in ("in", "out") for number in range(5))
        assert outside.exec("wc -l < log").strip() == "10"
        assert inside.exec("wc -l < log").strip() == "10"
