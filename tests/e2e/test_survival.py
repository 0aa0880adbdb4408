"""A server that dies without a word: what it had answered is there afterwards, and nothing stands in the way."""

import secrets
import threading
import time

import httpx
import psutil
import pytest
import trove_sdk


def test_what_was_answered_is_there_after_a_kill(own_server):
    server = own_server
    with server.sdk() as client:
        client.write("before", "x")
        taken = client.create_snapshot("kept")
    answered = [[] for _ in range(8)]

    def write(number):
        with server.sdk() as client:
            for turn in range(10_000):
                data = f"{number} {turn} ".encode() * (1 if turn % 2 else 5_000)
                try:
                    client.upload(f"{number}/{turn}", data)
                except httpx.TransportError:
                    return
                answered[number].append((turn, data))

    writers = [threading.Thread(target=write, args=(number,)) for number in range(8)]
    for writer in writers:
        writer.start()
    while min(map(len, answered)) < 8:
        time.sleep(0.01)
    server.kill()
    for writer in writers:
        writer.join()

    server.start()
    with server.sdk() as client:
        told = server.events(types="file.written", namespace="main")
        events = {event["data"]["path"] for event in told}
        assert len(events) == len(told)
        there = set()
        for number, kept in enumerate(answered):
            for turn, data in kept:
                there.add(f"workspace/{number}/{turn}")
                assert client.read_bytes(f"{number}/{turn}") == data
        # At most one call of each writer was committed and not yet answered
        assert there <= events
        assert len(events - there - {"workspace/before"}) <= 8
        files = set()
        for number in range(8):
            files |= {entry.path for entry in client.list_dir(f"{number}")}
        assert files == events - {"workspace/before"}
        assert client.restore_snapshot(taken.snapshot_id) == 1
        client.write("after", "y")
        assert [entry.name for entry in client.list_dir()] == ["after", "before"]


@pytest.mark.sandbox
def test_a_command_that_ran_dies_with_it_and_holds_nobody_up(own_server):
    server = own_server
    sleep = f"97.{secrets.randbelow(10**12)}"
    with server.sdk() as client:
        client.exec("echo first > f")

    def run():
        with server.sdk() as client, pytest.raises(httpx.TransportError):
            client.exec(f"echo half > f; echo new > g; sleep {sleep}")

    running = threading.Thread(target=run)
    running.start()
    while not any(sleep in part for part in _running()):
        time.sleep(0.05)
    server.kill()
    running.join()
    for _ in range(600):
        if not any(sleep in part for part in _running()):
            break
        time.sleep(0.05)
    else:
        pytest.fail("the command outlived its server by 30 seconds")

    server.start()
    with server.sdk() as client:
        # 503 after 10 s if the dead server's lock still stood; and of half a command nothing is kept
        assert client.exec("cat f; ls") == "first\nf\n"
        assert client.read_text("f") == "first\n"
        with pytest.raises(trove_sdk.TroveError):
            client.read_text("g")


def _running() -> list[str]:
    return [part for process in psutil.process_iter(["cmdline"]) for part in process.info["cmdline"] or ()]


def test_a_stop_and_a_kill_between_the_writes(own_server):
    server = own_server
    for number, end in enumerate((server.stop, server.kill)):
        with server.sdk() as client:
            client.write(f"f{number}", str(number))
        end()
        server.start()
    with server.sdk() as client:
        assert [client.read_text(f"f{number}") for number in range(2)] == ["0", "1"]
    times = [event["created_at"] for event in server.events()]
    assert times == sorted(set(times))
