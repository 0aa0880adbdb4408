"""``trove-agents serve`` as its user has it: a process, its output, its files, its end."""

import json
import os
import shutil
import signal
import socket
import stat
import threading
from pathlib import Path

import pytest
import tests_objects as objects
import tests_postgres as postgres

from trove_agents import TroveAdminClient, TroveClient


def client(server, key):
    return TroveClient(key, "agent", base_url=server.base_url)


def test_the_first_start_shows_two_keys_that_work(tmp_path, serving):
    with serving(tmp_path) as server:
        with client(server, server.told("key")) as agent:
            agent.write("a.txt", "hello")
            assert agent.read_text("a.txt") == "hello"
        with TroveAdminClient(
            server.told("admin key"), server.told("workspace"), base_url=server.base_url
        ) as admin:
            assert {key.scope for key in admin.list_keys()} == {"admin", "workspace"}
        assert server.base_url.startswith("http://127.0.0.1:")
        assert server.told("state") == str(tmp_path / "state")


def test_a_later_start_shows_no_secrets_and_has_all_files(tmp_path, serving):
    with serving(tmp_path) as first:
        key, workspace = first.told("key"), first.told("workspace")
        with client(first, key) as agent:
            agent.write("a.txt", "hello")
        assert first.stop() == (0, "")
    with serving(tmp_path) as second:
        assert second.told("workspace") == workspace
        assert "trove-sk-" not in "\n".join(second.lines)
        with client(second, key) as agent:
            assert agent.read_text("a.txt") == "hello"


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_both_signals_end_it_with_status_0_and_no_complaints(tmp_path, serving, number):
    with serving(tmp_path) as server:
        assert server.stop(number) == (0, "")


def test_the_credentials_file_is_private_and_has_all_a_program_needs(tmp_path, serving):
    with serving(tmp_path, "--credentials-file", "keys.json") as server:
        keys = server.credentials("keys.json")
        assert set(keys) == {"base_url", "workspace_id", "admin_key", "key"}
        assert stat.S_IMODE((tmp_path / "keys.json").stat().st_mode) == 0o600
        assert keys["base_url"] == server.base_url
        assert "trove-sk-" not in "\n".join(server.lines)
        with client(server, keys["key"]) as agent:
            assert agent.me().workspace_id == keys["workspace_id"]
    assert sorted(path.name for path in tmp_path.iterdir()) == ["keys.json", "state"]


def test_a_later_start_keeps_the_address_in_the_file_right(tmp_path, serving):
    with serving(tmp_path, "--credentials-file", "keys.json") as first:
        before = first.credentials("keys.json")
    with serving(tmp_path, "--credentials-file", "keys.json") as second:
        after = second.credentials("keys.json")
        assert after == before | {"base_url": second.base_url}
        assert stat.S_IMODE((tmp_path / "keys.json").stat().st_mode) == 0o600
        assert second.stop() == (0, "")


def test_a_later_start_says_that_it_cannot_write_keys_again(tmp_path, serving):
    with serving(tmp_path) as first:
        first.stop()
    with serving(tmp_path, "--credentials-file", "keys.json") as second:
        status, errors = second.stop()
    assert status == 0
    assert "keys.json is not written" in errors
    assert not (tmp_path / "keys.json").exists()


@pytest.mark.parametrize("place", ["other.json", "nowhere/keys.json"])
def test_no_workspace_is_made_when_its_keys_could_not_be_kept(tmp_path, serving, place):
    (tmp_path / "other.json").write_text(json.dumps({"key": "of another server"}))
    with serving(tmp_path, "--credentials-file", place) as server:
        status, errors = server.stop()
    assert status == 1
    assert errors.startswith("trove-agents: ") and place.partition("/")[0] in errors
    assert json.loads((tmp_path / "other.json").read_text()) == {"key": "of another server"}
    with serving(tmp_path) as server:
        assert server.told("key"), "still the first start"


@pytest.mark.skipif(
    not os.path.isdir("/proc") or not os.access("/proc", os.W_OK),
    reason="needs a folder that seems writable and is not",
)
def test_keys_that_could_not_be_written_are_shown_after_all(tmp_path, serving):
    with serving(tmp_path, "--credentials-file", "/proc/keys.json") as server:
        with client(server, server.told("key")) as agent:
            assert agent.me().workspace_id == server.told("workspace")
        status, errors = server.stop()
    assert status == 0
    assert errors.startswith("/proc/keys.json could not be written (")


def test_a_port_in_use_is_refused_in_one_line(tmp_path, serving):
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        with serving(tmp_path, "--port", str(port)) as server:
            status, errors = server.stop()
    assert status == 1
    assert errors.startswith(f"trove-agents: cannot serve at 127.0.0.1, port {port}: ")
    assert errors.count("\n") == 1


def test_a_place_that_cannot_hold_state_is_refused_in_one_line(tmp_path, serving):
    (tmp_path / "file").touch()
    with serving(tmp_path, "--data", "file/state") as server:
        status, errors = server.stop()
    assert status == 1
    assert errors.startswith("trove-agents: cannot keep state in file/state: ")
    assert errors.count("\n") == 1


def test_a_running_command_may_finish_when_the_server_is_told_to_stop(tmp_path, serving):
    results = []
    with serving(tmp_path, "--sandbox", "none") as server:
        key = server.told("key")

        def command():
            with client(server, key) as agent:
                results.append(
                    agent.exec("touch started; until [ -e go ]; do sleep 0.02; done; echo done > result")
                )

        running = threading.Thread(target=command)
        with client(server, key) as agent:
            running.start()
            # Not rglob, which fails at a folder that goes meanwhile
            [folder] = wait_for(
                lambda: [at for at, _, names in os.walk(tmp_path / "state") if "started" in names]
            )
            server.process.send_signal(signal.SIGTERM)
            Path(folder, "go").touch()
            running.join(timeout=60)
        assert server.stop()[0] == 0
    assert results == [""]
    with serving(tmp_path) as server, client(server, key) as agent:
        assert agent.read_text("result") == "done\n"


def test_what_commands_run_under_is_told(tmp_path, serving):
    with serving(tmp_path, "--sandbox", "none") as server:
        assert "none" in server.told("commands")
        assert "unprotected" in server.told("commands")


def test_strangers_make_workspaces_only_where_they_may(tmp_path, serving):
    import httpx

    for options, status in ((), 403), (("--open-signup",), 201):
        with serving(tmp_path, *options) as server:
            assert httpx.post(f"{server.base_url}/v1/workspaces", json={"name": "mine"}).status_code == status


def wait_for(look):
    """Polls; the suite's own guard ends it if it never comes."""
    import time

    for _ in range(3000):
        if found := look():
            return found
        time.sleep(0.01)
    raise AssertionError("it never came")


def test_a_database_server_and_a_bucket_hold_all_there_is(tmp_path, serving):
    """Another server, with an empty state directory, goes on where the first ended."""
    large = bytes(range(256)) * 40_000
    places = ("--database-url", postgres.url(tmp_path), "--blobs", objects.bucket(), "--sandbox", "none")
    with serving(tmp_path, *places) as first:
        key = first.told("key")
        with client(first, key) as agent:
            agent.upload("large.bin", large)
            agent.exec("head -c 100000 large.bin > start.bin; echo made > made.txt")
            good = agent.create_snapshot("good")
            agent.exec("rm *")
            agent.restore_snapshot(good.snapshot_id)
        assert first.stop()[0] == 0
    assert not (tmp_path / "state" / "blobs").exists()
    shutil.rmtree(tmp_path / "state")
    with serving(tmp_path, *places) as second:
        with client(second, key) as agent:
            assert agent.read_text("made.txt") == "made\n"
            assert agent.read_bytes("large.bin") == large
            assert agent.read_bytes("start.bin") == large[:100_000]
            assert agent.exec("cat start.bin | wc -c").strip() == "100000"
        assert second.stop()[0] == 0


def test_a_bucket_that_cannot_be_used_is_said_at_the_start(tmp_path, serving):
    objects.server()
    with serving(tmp_path, "--blobs", "s3://not-there-at-all") as server:
        status, errors = server.stop()
    assert status == 1
    assert errors == "trove-agents: cannot use the blobs: s3://not-there-at-all: there is no such bucket\n"
    with serving(tmp_path, "--blobs", "s3://user:secret@bucket") as server:
        status, errors = server.stop()
    assert status == 1
    assert "AWS_*" in errors and "secret" not in errors
