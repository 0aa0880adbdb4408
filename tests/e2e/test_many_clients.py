"""Many callers at once over HTTP: nothing is lost, nothing is told twice, nobody sees what is another's."""

import asyncio
import itertools
import threading
from concurrent.futures import ThreadPoolExecutor

import pytest

CLIENTS = 32


def at_once(work, count=CLIENTS):
    """Results of ``work(0)`` to ``work(count - 1)``, begun together."""
    gate = threading.Barrier(count)

    def run(number):
        gate.wait()
        return work(number)

    with ThreadPoolExecutor(count) as pool:
        return list(pool.map(run, range(count)))


def test_one_namespace(server):
    rounds = 8

    def work(number):
        data = bytes([number]) * 20_000
        with server.sdk("one") as client:
            for turn in range(rounds):
                client.write(f"own/{number}/{turn}", f"{number} {turn}")
                client.write("shared", f"{number} {turn}")
                client.upload(f"big/{number}", data + bytes([turn]))
                assert client.read_text(f"own/{number}/{turn}") == f"{number} {turn}"
                assert client.read_bytes(f"big/{number}") == data + bytes([turn])

    at_once(work)
    with server.sdk("one") as client:
        listing = client.list_dir(recursive=True)
        files = {entry.path for entry in listing if not entry.is_dir}
        assert files == {
            "workspace/shared",
            *(f"workspace/own/{number}/{turn}" for number in range(CLIENTS) for turn in range(rounds)),
            *(f"workspace/big/{number}" for number in range(CLIENTS)),
        }
        for number in range(CLIENTS):
            assert client.read_bytes(f"big/{number}") == bytes([number]) * 20_000 + bytes([rounds - 1])
        last = client.read_text("shared")
    told = server.events(namespace="one")
    assert len(told) == CLIENTS * rounds * 3
    assert len({event["id"] for event in told}) == len(told)
    times = [event["created_at"] for event in told]
    assert all(before < after for before, after in itertools.pairwise(times))
    paths = [event["data"]["path"] for event in told]
    for number in range(CLIENTS):
        own = [path for path in paths if path.startswith(f"workspace/own/{number}/")]
        assert own == [f"workspace/own/{number}/{turn}" for turn in range(rounds)]
    assert last.split()[1] == str(rounds - 1) or paths.count("workspace/shared") == CLIENTS * rounds


def test_a_namespace_each(server):
    def work(number):
        with server.client(f"each-{number}") as client:
            client.write("f", f"{number}")
            taken = client.create_snapshot(f"{number}")
            client.write("f", "changed")
            client.write("g", "later")
            assert client.restore_snapshot(taken.snapshot_id) == 1
            assert client.read_text("f") == f"{number}"
            assert [entry.name for entry in client.list_dir()] == ["f"]
            assert [snapshot.label for snapshot in client.list_snapshots()] == [f"{number}"]
            return taken.snapshot_id

    assert len(set(at_once(work))) == CLIENTS
    told = server.events(types="file.written,snapshot.created,snapshot.restored")
    for number in range(CLIENTS):
        own = [event["type"] for event in told if event["namespace"] == f"each-{number}"]
        assert own == [
            "file.written",
            "snapshot.created",
            "file.written",
            "file.written",
            "snapshot.restored",
        ]


async def test_one_async_client(server):
    async with server.async_client("async") as client:
        await asyncio.gather(*(client.write(f"f{number}", str(number)) for number in range(200)))
        texts = await asyncio.gather(*(client.read_text(f"f{number}") for number in range(200)))
        assert texts == [str(number) for number in range(200)]
        await asyncio.gather(*(client.delete(f"f{number}") for number in range(200)))
        assert await client.list_dir() == []
    assert len(server.events(namespace="async")) == 400


def test_a_listing_and_a_tail_while_others_write(server):
    """A reader that follows the events from its bookmark misses none, whoever commits when."""
    done = threading.Event()
    seen = []

    def follow():
        mark = "2000-01-01T00:00:00Z"
        while True:
            last_look = done.is_set()
            page = server.events(namespace="tail", since=mark)
            if page:
                seen.extend(event["data"]["path"] for event in page)
                mark = page[-1]["created_at"]
            elif last_look:
                return

    follower = threading.Thread(target=follow)
    follower.start()

    def work(number):
        with server.sdk("tail") as client:
            for turn in range(20):
                client.write(f"{number}-{turn}", "x")

    at_once(work, 16)
    done.set()
    follower.join()
    assert sorted(seen) == sorted(f"workspace/{number}-{turn}" for number in range(16) for turn in range(20))


def test_restores_while_others_write(server):
    """Each of them is whole: a namespace is never part one snapshot, part another."""
    with server.sdk("race") as client:
        ids = []
        for letter in "ab":
            for number in range(20):
                client.write(f"d/{number}", letter)
            ids.append(client.create_snapshot(letter).snapshot_id)

        def work(number):
            with server.client("race") as own:
                for turn in range(6):
                    if number < 4:
                        assert own.restore_snapshot(ids[(number + turn) % 2]) == 20
                    else:
                        own.write(f"w/{number}", str(turn))

        at_once(work, 12)
        for letter, snapshot_id in zip("ab", ids, strict=True):
            assert client.restore_snapshot(snapshot_id) == 20
            assert {entry.path for entry in client.list_dir(recursive=True)} == {
                "workspace/d",
                *(f"workspace/d/{number}" for number in range(20)),
            }
            assert {client.read_text(f"d/{number}") for number in range(20)} == {letter}
    told = [event["type"] for event in server.events(namespace="race")]
    assert told.count("snapshot.restored") == 4 * 6 + 2
    assert told.count("file.written") == 40 + 8 * 6


@pytest.mark.sandbox
def test_commands_in_one_namespace(server):
    """They run one after the other, each on what the one before left, and beside them writes go on."""

    def work(number):
        with server.sdk("log") as client:
            for turn in range(3):
                if number % 2:
                    client.write(f"beside/{number}", f"{turn}\n")
                else:
                    client.exec(f"echo {number} {turn} >> log; mkdir -p made; echo {turn} > made/{number}")

    at_once(work, 16)
    with server.sdk("log") as client:
        lines = client.read_text("log").splitlines()
        assert sorted(lines) == sorted(f"{number} {turn}" for number in range(0, 16, 2) for turn in range(3))
        for number in range(0, 16, 2):
            assert [line for line in lines if line.startswith(f"{number} ")] == [
                f"{number} {t}" for t in range(3)
            ]
        assert client.exec("cat made/* beside/* | sort | uniq -c | tr -s ' '") == " 16 2\n"


@pytest.mark.sandbox
def test_commands_in_many_namespaces(server):
    def work(number):
        with server.sdk(f"exec-{number}") as client:
            client.write("mine", str(number))
            assert client.exec("cat mine; ls; echo more > made") == f"{number}mine\n"
            return client.read_text("made")

    assert at_once(work, 16) == ["more\n"] * 16
