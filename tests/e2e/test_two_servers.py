"""Two server processes on one PostgreSQL database and one bucket, each with a state directory of its own."""

import os
import signal
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress

import pytest
import tests_objects as objects
import tests_postgres as postgres

from trove_agents import TroveAdminClient, TroveClient, TroveError


@pytest.fixture(scope="module")
def servers(tmp_path_factory, serving):
    folders = [tmp_path_factory.mktemp(name) for name in ("one", "two")]
    places = ("--database-url", postgres.url(folders[0]), "--blobs", objects.bucket(), "--sandbox", "none")
    with serving(folders[0], *places) as one, serving(folders[1], *places) as other:
        yield one, other


@pytest.fixture
def two(servers, request):
    """For a namespace of the test's own a client at each server."""
    key, name = servers[0].told("key"), request.node.name[:100]
    with (
        TroveClient(key, name, base_url=servers[0].base_url) as first,
        TroveClient(key, name, base_url=servers[1].base_url) as second,
    ):
        yield first, second


@pytest.fixture
def gate(tmp_path):
    """Two pipes: what a command says when it has begun, and what it waits for."""
    paths = [tmp_path / name for name in ("begun", "go")]
    for path in paths:
        os.mkfifo(path)
    return paths


def events(servers, at, namespace):
    key, workspace = servers[0].told("admin key"), servers[0].told("workspace")
    with TroveAdminClient(key, workspace, base_url=servers[at].base_url) as admin:
        return list(admin.list_events(namespace=namespace))


def test_each_sees_what_the_other_did(two, servers):
    first, second = two
    large = bytes(range(256)) * 400
    first.upload("large.bin", large)
    assert second.read_bytes("large.bin") == large
    snapshot = second.create_snapshot("of the second")
    second.exec("rm large.bin")
    first.restore_snapshot(snapshot.snapshot_id)
    assert second.exec("wc -c < large.bin").strip() == str(len(large))
    told = events(servers, 0, first.namespace)
    assert told == events(servers, 1, first.namespace)
    assert {"file.written", "snapshot.created", "exec.completed"} <= {event.type for event in told}


def test_a_lease_of_one_keeps_the_callers_of_the_other_out(two):
    first, second = two
    with first.lease() as held:
        with pytest.raises(TroveError, match="leased"):
            second.write("a.txt", "from outside")
        held.client.write("a.txt", "under the lease")
    second.write("b.txt", "afterwards")
    assert first.read_text("a.txt") == "under the lease"


def test_a_command_waits_for_that_of_the_other(two, gate):
    first, second = two
    begun, go = gate
    with ThreadPoolExecutor() as pool:
        one = pool.submit(first.exec, f"echo > {begun}; read x < {go}; echo one >> order")
        begun.read_text()
        other = pool.submit(second.exec, "cat order; echo two >> order")
        with suppress(TimeoutError):
            other.result(timeout=0.5)  # without a lock it is over now, and saw nothing
        go.write_text("\n")
        one.result()
        assert other.result() == "one\n"
    assert first.read_text("order") == "one\ntwo\n"


def test_a_killed_servers_command_is_in_nobodys_way(two, servers, gate):
    """The last one: it leaves one server."""
    first, second = two
    begun, go = gate
    first.write("kept", "before")
    with ThreadPoolExecutor() as pool:
        lost = pool.submit(first.exec, f"echo lost > kept; echo > {begun}; read x < {go}")
        begun.read_text()
        servers[0].process.send_signal(signal.SIGKILL)
        # Its lock would stand for minutes, and a caller is told after ten seconds that the namespace is busy
        assert second.exec("cat kept; echo > taken") == "before"
        assert lost.exception() is not None
    assert second.read_text("kept") == "before"
    with suppress(OSError):  # ends what the killed server's command still waits for
        os.close(os.open(go, os.O_WRONLY | os.O_NONBLOCK))
