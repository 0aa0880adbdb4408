"""The embedded server as its user has it: from threads, loops, several processes, after a fork, and closed cleanly."""

import asyncio
import gc
import json
import os
import stat
import subprocess
import sys
import threading
import warnings

import pytest

from trove_agents import TroveAuthError, TroveNotFoundError
from trove_agents.embedded import Trove


@pytest.fixture
def trove(tmp_path):
    with Trove.local(tmp_path / "state") as trove:
        yield trove


def run(code, *args, check=True):
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", code, *map(str, args)],
        capture_output=True,
        text=True,
        timeout=60,
    )
    if check:
        assert (done.returncode, done.stderr) == (0, ""), done.stderr
    return done.stdout


def test_write_and_read_and_come_back_later(tmp_path):
    with Trove.local(tmp_path / "s") as trove:
        trove.client("agent").write("notes.md", "# hello")
        first = trove.credentials
    with Trove.local(tmp_path / "s") as trove:
        assert trove.client("agent").read_text("workspace/notes.md") == "# hello"
        assert trove.credentials == first


def test_local_state_is_private_and_never_committed_by_accident(trove):
    trove.client("a").write("f", "x")
    assert stat.S_IMODE(trove.folder.stat().st_mode) == 0o700
    assert (trove.folder / ".gitignore").read_text() == "*\n"
    assert stat.S_IMODE((trove.folder / "credentials.json").stat().st_mode) == 0o600


def test_the_default_place(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with Trove.local() as trove:
        trove.client("a").write("f", "x")
    assert (tmp_path / ".trove-agents" / "trove.db").exists()


def test_temporary_state_is_deleted():
    with Trove.temporary() as trove:
        trove.client("a").write("f", "x")
        folder = trove.folder
        assert folder.exists()
    assert not folder.exists()


@pytest.mark.parametrize("wrong", [{"sandbox": "docker"}, {"network": "all"}])
def test_an_unknown_sandbox_or_network_is_said_at_once_and_leaves_nothing(tmp_path, monkeypatch, wrong):
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    with pytest.raises(ValueError, match="one of"):
        Trove.local(tmp_path / "state", **wrong)
    with pytest.raises(ValueError, match="one of"):
        Trove.temporary(**wrong)
    assert os.listdir(tmp_path) == []


def test_credentials_are_replaced_when_lost_or_revoked(tmp_path):
    with Trove.local(tmp_path) as trove:
        first = trove.credentials
        trove.client("a").write("f", "x")
        keys = trove.admin().list_keys()
        trove.admin().revoke_key(next(key.key_id for key in keys if key.scope == "workspace"))
        with pytest.raises(TroveAuthError):
            trove.client("a").read_text("f")
    with Trove.local(tmp_path) as trove:
        assert trove.client("a").read_text("f") == "x"
        assert trove.credentials.workspace_id == first.workspace_id
    (tmp_path / "credentials.json").unlink()
    with Trove.local(tmp_path) as trove:
        assert trove.client("a").read_text("f") == "x"
    (tmp_path / "credentials.json").write_text("{broken")
    with Trove.local(tmp_path) as trove:
        assert trove.client("a").read_text("f") == "x"


def test_first_openings_at_once_make_one_workspace(tmp_path):
    """Else what one of them writes is in a workspace that nobody finds again."""
    troves = [Trove.local(tmp_path) for _ in range(6)]
    barrier = threading.Barrier(len(troves))
    found = []

    def first(trove):
        barrier.wait(20)
        found.append(trove.credentials.workspace_id)
        trove.client("a").write(f"f{id(trove)}", "x")

    threads = [threading.Thread(target=first, args=(trove,)) for trove in troves]
    [thread.start() for thread in threads]
    [thread.join() for thread in threads]
    assert len(set(found)) == 1
    assert troves[0].server.keys.workspaces() == found[:1]
    assert len(troves[0].client("a").list_dir()) == len(troves)
    for trove in troves:
        trove.close()


def test_a_server_that_cannot_open_gives_back_what_it_had(tmp_path):
    (tmp_path / "run").write_text("in the way")
    with pytest.raises(FileExistsError):
        Trove.local(tmp_path)
    if os.path.isdir("/proc/self/fd"):
        links = [f"/proc/self/fd/{number}" for number in os.listdir("/proc/self/fd")]
        held = [os.readlink(link) for link in links if os.path.lexists(link)]
        assert not [path for path in held if path.startswith(str(tmp_path))]
    (tmp_path / "run").unlink()
    with Trove.local(tmp_path) as trove:
        trove.client("a").write("f", "x")


def test_an_event_loop_goes_on_while_it_closes(tmp_path):
    async def main():
        moved = threading.Event()
        async with Trove.local(tmp_path) as trove:
            await trove.async_client("a").write("f", "x")
            work = trove.server.app.pool.submit(moved.wait, 20)  # closing waits for it, and it for this loop
            asyncio.get_running_loop().call_later(0.05, moved.set)
        assert work.result(0) is True
        with pytest.raises(RuntimeError, match="closed"):
            trove.client("a")._transport.send(None)

    asyncio.run(main())


def test_sync_calls_inside_a_running_loop(trove):
    async def main():
        client = trove.client("a")
        client.write("f", "x")
        assert client.read_text("f") == "x"
        client.upload("g", b"y" * 100_000)
        assert client.read_bytes("g") == b"y" * 100_000
        snapshot = client.create_snapshot()
        client.restore_snapshot(snapshot.snapshot_id)

    asyncio.run(main())


def test_async_clients_in_several_loops_at_once(trove):
    errors = []

    def work(number):
        async def main():
            async with trove.async_client(f"n{number}") as client:
                await asyncio.gather(*(client.write(f"f{i}", str(i)) for i in range(20)))
                assert len(await client.list_dir()) == 20
                await client.upload("big", b"z" * 3_000_000)
                assert await client.read_bytes("big") == b"z" * 3_000_000
                snapshot = await client.create_snapshot()
                assert await client.restore_snapshot(snapshot.snapshot_id) == 21

        try:
            asyncio.run(main())
        except BaseException as error:
            errors.append(error)

    threads = [threading.Thread(target=work, args=(number,)) for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert errors == []


def test_many_threads_on_one_client(trove):
    client = trove.client("a")
    threads = [threading.Thread(target=lambda n=n: client.write(f"f{n}", str(n))) for n in range(32)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(entry.name for entry in client.list_dir()) == sorted(f"f{n}" for n in range(32))


def test_streams_in_both_directions(trove, tmp_path):
    piece = os.urandom(1 << 20)
    client = trove.client("a")
    client.upload("big.bin", (piece for _ in range(12)))
    target = tmp_path / "copy"
    client.download("big.bin", target)
    assert target.read_bytes() == piece * 12

    async def main():
        async def pieces():
            for _ in range(5):
                await asyncio.sleep(0)
                yield piece

        async with trove.async_client("a") as client:
            await client.upload("async.bin", pieces())
            assert await client.read_bytes("async.bin") == piece * 5

    asyncio.run(main())


def test_a_callers_iterator_that_fails_leaves_the_old_file(trove):
    client = trove.client("a")
    client.upload("f", b"old")

    def pieces():
        yield b"x" * 2_000_000
        raise LookupError("the source broke")

    with pytest.raises(Exception, match="source broke"):
        client.upload("f", pieces())
    assert client.read_bytes("f") == b"old"


def test_a_cancelled_write_says_that_it_may_have_been_committed(trove):
    async def main():
        async with trove.async_client("a") as client:
            task = asyncio.create_task(client.write("f", "x"))
            await asyncio.sleep(0)
            task.cancel()
            with pytest.raises(asyncio.CancelledError) as caught:
                await task
            notes = " ".join(getattr(caught.value, "__notes__", ()))
            assert "may have been committed" in notes

    asyncio.run(main())


def test_a_closed_trove_says_so(tmp_path):
    trove = Trove.local(tmp_path)
    client = trove.client("a")
    trove.close()
    trove.close()
    with pytest.raises(RuntimeError, match="closed"):
        client.read_text("f")


def test_it_closes_cleanly(tmp_path):
    before = threading.active_count()
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        with Trove.local(tmp_path) as trove:
            client = trove.client("a")
            client.upload("f", b"x" * 100_000)
            client.read_bytes("f")
            asyncio.run(one_write(trove))
        del trove, client
        gc.collect()
    assert threading.active_count() == before
    assert not [name for name in os.listdir(tmp_path) if name.endswith(("-wal", "-shm"))]
    assert os.listdir(tmp_path / "run") == []


async def one_write(trove):
    async with trove.async_client("a") as client:
        await client.write("g", "y")


def test_a_process_that_ends_without_closing_loses_nothing(tmp_path):
    code = """
import sys
from trove_agents.embedded import Trove
trove = Trove.local(sys.argv[1])
client = trove.client("a")
client.upload("big", b"x" * 300_000)
client.write("f", "kept")
print("done")
"""
    assert run(code, tmp_path) == "done\n"
    with Trove.local(tmp_path) as trove:
        assert trove.client("a").read_text("f") == "kept"
        assert trove.client("a").read_bytes("big") == b"x" * 300_000


def test_several_processes_on_one_directory(tmp_path):
    code = """
import sys
from trove_agents.embedded import Trove
with Trove.local(sys.argv[1]) as trove:
    client = trove.client("shared")
    for i in range(25):
        client.write(f"{sys.argv[2]}/{i}", sys.argv[2])
"""
    with Trove.local(tmp_path) as trove:
        trove.client("shared").write("own", "x")
        children = [subprocess.Popen([sys.executable, "-c", code, str(tmp_path), str(n)]) for n in range(3)]
        for i in range(25):
            trove.client("shared").write(f"own/{i}" if False else f"mine/{i}", "m")
        assert [child.wait(60) for child in children] == [0, 0, 0]
        files = [entry for entry in trove.client("shared").list_dir(recursive=True) if not entry.is_dir]
        assert len(files) == 101
        events = list(trove.admin().list_events(types=["file.written"]))
        assert len(events) == 101
        assert len({event.created_at for event in events}) == 101


def test_after_a_fork_parent_and_child_both_go_on(tmp_path):
    code = """
import os, sys, threading
from trove_agents.embedded import Trove
trove = Trove.local(sys.argv[1])
client = trove.client("a")
client.write("before", "1")
client.upload("big", b"x" * 100_000)
child = os.fork()
if child == 0:
    assert client.read_text("before") == "1"
    for i in range(10):
        client.write(f"child{i}", "c")
    assert client.read_bytes("big") == b"x" * 100_000
    trove.close()
    os._exit(0)
for i in range(10):
    client.write(f"parent{i}", "p")
_, status = os.waitpid(child, 0)
assert status == 0, status
client.write("after", "2")
assert len(client.list_dir()) == 23, [e.name for e in client.list_dir()]
trove.close()
"""
    run(code, tmp_path)
    with Trove.local(tmp_path) as trove:
        assert len(trove.client("a").list_dir()) == 23


def test_a_child_of_a_closed_trove_opens_nothing(tmp_path):
    code = """
import os, sys, threading
from trove_agents.embedded import Trove
trove = Trove.temporary()
client = trove.client("a")
client.write("f", "x")
trove.close()
child = os.fork()
if child == 0:
    try:
        client.read_text("f")
    except RuntimeError:
        os._exit(os.path.exists(trove.folder))
    os._exit(2)
print(os.waitpid(child, 0)[1])
"""
    assert run(code, tmp_path) == "0\n"


def test_a_fork_while_another_thread_is_inside_leaves_no_lock_behind(tmp_path):
    code = """
import os, sys, threading
from trove_agents.embedded import Trove
trove = Trove.local(sys.argv[1])
inside, leave = threading.Event(), threading.Event()
def hold():
    with trove._lock:  # as while the first keys are being made
        inside.set()
        leave.wait(20)
thread = threading.Thread(target=hold)
thread.start()
inside.wait(20)
child = os.fork()
if child == 0:
    trove.client("a").write("f", "x")
    trove.close()
    os._exit(0)
status = os.waitpid(child, 0)[1]
leave.set()
thread.join()
print(status, trove.client("a").read_text("f"))
trove.close()
"""
    assert run(code, tmp_path) == "0 x\n"


def test_errors_come_as_the_clients_own(trove):
    with pytest.raises(TroveNotFoundError, match="workspace/nope"):
        trove.client("a").read_text("nope")


def test_the_openapi_document_lists_every_route(trove):
    from trove_agents.client.transport import Outgoing
    from trove_agents.embedded.driver import InProcess

    reply = InProcess(trove._runtime).send(Outgoing("GET", "/openapi.json", "", (), None, None, 5.0))
    document = json.loads(reply.body)
    assert len(document["paths"]["/v1/snapshots"]) == 2
    listed = sum(len(methods) for methods in document["paths"].values())
    assert listed == len(trove.server.app.routes)
    names = [op["operationId"] for methods in document["paths"].values() for op in methods.values()]
    assert len(set(names)) == len(names)


def test_it_can_be_served_while_clients_in_the_process_go_on(tmp_path):
    code = """
import os, signal, sys, threading
from trove_agents import TroveClient
from trove_agents.embedded import Trove

with Trove.local(sys.argv[1]) as trove:
    def work(url):
        try:
            with TroveClient(trove.credentials.key, "a", base_url=url) as remote:
                remote.write("remote", "1")
                trove.client("a").write("local", "2")
                assert {entry.name for entry in remote.list_dir()} == {"remote", "local"}
                taken = remote.create_snapshot().snapshot_id
                threads = [
                    threading.Thread(target=client.restore_snapshot, args=(taken,))
                    for client in (remote, trove.client("a")) * 5
                ]
                [thread.start() for thread in threads]
                [thread.join() for thread in threads]
                print("done", flush=True)
        finally:
            os.kill(os.getpid(), signal.SIGTERM)
    trove.serve(port=0, ready=lambda url: threading.Thread(target=work, args=(url,)).start())
    print(trove.client("a").read_text("remote"))
"""
    assert run(code, tmp_path) == "done\n1\n"
