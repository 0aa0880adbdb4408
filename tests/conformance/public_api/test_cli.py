"""The public command line, ``trove``, as its users run it: wire 8 and 11.2, 11.3."""

import json
import os
import re
import signal
import stat
import subprocess
import sys
import threading
import time
from dataclasses import dataclass
from pathlib import Path

import pytest
import trove_sdk

TROVE = Path(sys.executable).parent / "trove"


class Cli:
    """``trove`` with a home of its own."""

    def __init__(self, home: Path, workspace) -> None:
        self.home = home
        self.workspace = workspace
        self.folder = home / "cwd"
        self.folder.mkdir(parents=True)
        self.environment = {
            "HOME": str(home),
            "PATH": os.environ["PATH"],
            "TZ": "UTC",
            "PYTHONUNBUFFERED": "1",
        }

    def __call__(self, *arguments, stdin=b"", status=0, **environment) -> "Said":
        done = subprocess.run(
            [TROVE, *map(str, arguments)],
            input=stdin,
            capture_output=True,
            cwd=self.folder,
            timeout=120,
            env={**self.environment, **environment},
        )
        assert done.returncode == status, (arguments, done)
        return Said(done.stdout, done.stderr)

    def login(self, key=None, *more) -> "Said":
        return self(
            "login", "--api-key", key or self.workspace.key, "--base-url", self.workspace.base_url, *more
        )

    def point(self, key: str, namespace: str | None = "main") -> None:
        self.environment |= {
            "TROVE_API_KEY": key,
            "TROVE_WORKSPACE_ID": self.workspace.workspace_id,
            "TROVE_BASE_URL": self.workspace.base_url,
        }
        if namespace is not None:
            self.environment["TROVE_NAMESPACE"] = namespace

    def start(self, *arguments) -> subprocess.Popen:
        return subprocess.Popen(
            [TROVE, *arguments],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            cwd=self.folder,
            env=self.environment,
            text=True,
        )


@dataclass(frozen=True)
class Said:
    raw: bytes
    raw_err: bytes

    @property
    def out(self) -> str:
        return self.raw.decode()

    @property
    def err(self) -> str:
        return self.raw_err.decode()

    @property
    def json(self):
        return json.loads(self.raw)


@pytest.fixture
def trove(tmp_path, workspace):
    return Cli(tmp_path / "home", workspace)


@pytest.fixture
def configured(trove):
    """Pointed at the workspace by the environment: one process less than a login."""
    trove.point(trove.workspace.key)
    return trove


@pytest.fixture
def sdk(workspace):
    with trove_sdk.TroveClient(workspace.key, "main", base_url=workspace.base_url) as client:
        yield client


def test_login_whoami_doctor(trove, workspace, new_workspace):
    said = trove.login()
    assert f"workspace={workspace.workspace_id}" in said.out and "scope=workspace" in said.out
    config = trove.home / ".trove" / "config.json"
    assert stat.S_IMODE(config.stat().st_mode) == 0o600
    assert json.loads(config.read_bytes())["profiles"]["default"] == {
        "api_key": workspace.key,
        "workspace_id": workspace.workspace_id,
        "base_url": workspace.base_url,
    }
    said = trove("whoami").out
    for expected in (
        f"workspace       : {workspace.workspace_id}",
        "key id          : key-",
        "scope           : workspace",
    ):
        assert expected in said
    assert "default namespace: -" in said
    said = trove("doctor").out
    assert "✓ /v1/me OK — scope=workspace, key_id=key-" in said
    assert "✓ file mode is 0o600" in said
    assert "✗" not in said and "⚠" not in said

    assert (
        "auth failed (401)"
        in trove("login", "--api-key", "trove-sk-wrong", "--base-url", workspace.base_url, status=1).err
    )
    other = new_workspace().workspace_id
    assert (
        "doesn't match"
        in trove(
            "login",
            "--api-key",
            workspace.key,
            "--workspace",
            other,
            "--base-url",
            workspace.base_url,
            status=1,
        ).err
    )


def test_login_from_a_pipe_with_a_locked_key(trove, workspace):
    with workspace.http(None, workspace.admin_key) as http:
        made = http.post(
            f"/v1/workspaces/{workspace.workspace_id}/keys", json={"name": "l", "namespace": "mine"}
        ).json()
    said = trove(
        "login", "--base-url", workspace.base_url, "--save-as", "dev", stdin=made["api_key"].encode() + b"\n"
    )
    assert "namespace=mine" in said.out
    assert "namespace lock  : mine" in trove("--profile", "dev", "whoami").out
    assert "key is locked to namespace=mine" in trove("--profile", "dev", "doctor").out
    assert trove("--profile", "dev", "ls").out == "(empty)\n"
    assert "HTTP 403" in trove("--profile", "dev", "ls", "-n", "other", status=2).err
    assert trove("whoami", status=3).err  # no profile called default


def test_files(configured, sdk):
    trove = configured
    data = bytes(range(256)) * 100
    (trove.folder / "local.bin").write_bytes(data)
    assert trove("put", "local.bin").out == "uploaded workspace/local.bin  (25.0KB)\n"
    assert trove("put", "local.bin", "workspace/docs/").out == "uploaded workspace/docs/local.bin  (25.0KB)\n"
    assert trove("write", "workspace/notes.txt", "hello wörld").out == "wrote workspace/notes.txt  (12B)\n"
    assert (
        trove("write", "piped.txt", "--stdin", stdin=b"from a pipe\n").out
        == "wrote workspace/piped.txt  (12B)\n"
    )
    assert trove("ls").out == "docs/\nlocal.bin\nnotes.txt\npiped.txt\n"
    assert re.fullmatch(r" +25.0KB  20\d\d-\d\d-\d\d \d\d:\d\d  local.bin\n", trove("ls", "-l", "docs").out)
    assert [entry["path"] for entry in trove("ls", "--json", "workspace/docs").json["entries"]] == [
        "workspace/docs/local.bin"
    ]
    assert trove("cat", "notes.txt").out == "hello wörld"
    assert "is binary (25.0KB)" in trove("cat", "local.bin", status=1).err
    assert "HTTP 404" in trove("cat", "nope", status=1).err
    assert trove("get", "docs/local.bin", "back.bin").out.startswith("downloaded docs/local.bin")
    assert (trove.folder / "back.bin").read_bytes() == data
    assert "already exists" in trove("get", "docs/local.bin", "back.bin", status=1).err
    assert trove("get", "workspace/docs/local.bin", "--stdout").raw == data
    assert "not found" in trove("get", "nope", status=1).err

    said = trove("rm", "-y", "docs", "nope", "workspace/notes.txt")
    assert said.out == "deleted workspace/docs\ndeleted workspace/notes.txt\n"
    assert said.err == "not found: nope\n"
    assert "HTTP 400" in trove("rm", "workspace", status=1).err
    assert [entry.name for entry in sdk.list_dir(recursive=True)] == ["local.bin", "piped.txt"]


@pytest.mark.sandbox
def test_run(configured, sdk, workspace):
    trove = configured
    sdk.write("a.txt", "1\n2\n")
    said = trove("run", "wc", "-l", "workspace/a.txt")
    assert (said.out, said.err) == ("2 workspace/a.txt\n", "")
    said = trove("run", "printf out; printf err >&2; exit 7", status=7)
    assert (said.out, said.err) == ("out\n", "err\n")
    found = trove("run", "--json", "echo out; exit 3", status=3).json
    assert found.pop("duration_ms") >= 0
    assert found == {"exit_code": 3, "stdout": "out\n", "stderr": ""}
    assert trove("run", "jq .x", stdin=b'{"x": "y"}').out == '"y"\n'
    assert trove("run", "--no-stdin", "cat", stdin=b"ignored").out == ""
    assert trove("run", "-n", "other", "ls", "-A").out == ""
    assert "stdin > 1MB" in trove("run", "cat", stdin=b"x" * (1024 * 1024 + 1), status=1).err
    assert len(workspace.events(types="exec.completed")) == 6


@pytest.mark.sandbox
def test_what_is_missing_runs_once_only(configured, sdk, workspace):
    """Wire 11.3: the CLI takes a 404 from exec for an old server, and runs the command again."""
    trove = configured
    assert "not found" in trove("run", "echo x >> ran; no-such-program", status=127).err
    assert "No such file" in trove("run", "echo x >> ran; cat workspace/nope", status=1).err
    assert trove("run", "-n", "never-used", "echo x >> ran; ls", status=0).out == "ran\n"
    assert "HTTP 400" in trove("run", "-n", "no name", "true", status=1).err
    assert [event["data"]["exit_code"] for event in workspace.events(types="exec.completed")] == [
        0,
        1,
        127,
    ]
    assert sdk.read_text("ran") == "x\nx\n"


def test_a_key_that_may_not_run_is_told_so_once(trove, workspace):
    trove.point(workspace.admin_key)
    assert "HTTP 403" in trove("run", "true", status=2).err
    assert workspace.events(types="exec.completed") == []


def test_snapshots(configured, sdk):
    trove = configured
    assert trove("snapshot", "list").out == "(no snapshots in namespace main)\n"
    sdk.write("f", "before")
    made = trove("snapshot", "create", "--label", "before", "--json").json
    assert (made["namespace"], made["label"], made["size_bytes"]) == ("main", "before", 6)
    identity = made["snapshot_id"]
    assert "✓ snapshot snap-" in trove("snapshot", "create").out
    rows = trove("snapshot", "list").out.splitlines()
    assert len(rows) == 3
    assert rows[2].split()[:3:2] == [identity, rows[2].split()[2]] and rows[2].endswith("before")
    sdk.write("f", "after")
    assert (
        f"restored {identity} → namespace main  (files_restored=1)"
        in trove("snapshot", "restore", "-y", identity).out
    )
    assert sdk.read_text("f") == "before"
    assert trove("snapshot", "delete", "-y", identity).out == f"deleted {identity}\n"
    assert "snapshot not found" in trove("snapshot", "delete", "-y", identity, status=1).err
    assert "snapshot not found" in trove("snapshot", "restore", "-y", identity, status=1).err
    assert len(trove("snapshot", "list", "--json").json["snapshots"]) == 1


def test_keys(trove, workspace):
    trove.point(workspace.admin_key, None)
    made = trove("keys", "create", "customer", "--namespace", "acme", "--json").json
    assert (made["scope"], made["namespace"]) == ("workspace", "acme")
    said = trove("keys", "create", "boss", "--admin").out
    assert "scope     : admin" in said and "api_key   : trove-sk-" in said
    header, *rows = trove("keys", "list").out.splitlines()
    column = header.index("NAME")
    assert {row[column:].split()[0] for row in rows} == {"default", "admin", "customer", "boss"}
    assert trove("keys", "revoke", "-y", made["key_id"]).out == f"revoked {made['key_id']}\n"
    assert "key not found" in trove("keys", "revoke", "-y", made["key_id"], status=1).err
    assert made["key_id"] not in {key["key_id"] for key in trove("keys", "list", "--json").json["keys"]}
    trove.point(workspace.key, None)
    assert "HTTP 403" in trove("keys", "create", "x", status=2).err
    assert trove("keys", "list").out


def test_events_list(trove, workspace, sdk):
    trove.point(workspace.key, None)
    for number in range(5):
        sdk.write(f"f{number}", "x")
    sdk.delete("f0")
    said = trove("events", "list", "--limit", "3", "-n", "main")
    lines = said.out.splitlines()
    assert re.fullmatch(r"\d\d:\d\d:\d\d +file\.deleted +main +workspace/f0", lines[0])
    assert lines[1].endswith("workspace/f4  (1B)") and len(lines) == 3
    cursor = re.search(r"--cursor (\S+)", said.err)[1]
    rest = trove("events", "list", "-n", "main", "--cursor", cursor)
    assert [line.split()[3] for line in rest.out.splitlines()] == [
        "workspace/f2",
        "workspace/f1",
        "workspace/f0",
    ]
    assert "--cursor" not in rest.err
    (event,) = [
        json.loads(line)
        for line in trove("events", "list", "--json", "-t", "file.deleted", "--since", "1h").out.splitlines()
    ]
    assert event["event_id"] == event["id"] and event["actor"]["key_name"] == "default"
    assert trove("events", "list", "--since", "now").err == "(no events)\n"
    assert "workspace.created" in trove("events", "list").out


def test_tail_prints_each_of_five_hundred_events_once(trove, workspace, sdk):
    """Wire 11.2."""
    trove.point(workspace.key, None)
    sdk.write("first", "x")
    tail = trove.start("tail", "--json", "--since", "1h", "-t", "file.written", "--interval", "0.1")
    printed = []
    enough = threading.Event()

    def read():
        for line in tail.stdout:
            printed.append(json.loads(line))
            if printed[-1]["data"]["path"] in {"workspace/first", "workspace/last"}:
                enough.set()

    reader = threading.Thread(target=read)
    reader.start()
    try:
        assert enough.wait(60), "tail printed nothing"
        enough.clear()
        batches = [range(worker, 500, 4) for worker in range(4)]

        def write(numbers):
            with trove_sdk.TroveClient(workspace.key, "main", base_url=workspace.base_url) as client:
                for number in numbers:
                    client.write(f"f{number:03}", "x")
                    # The CLI asks for the newest 200 and follows no cursor: bursts above that are lost to it
                    time.sleep(0.005)

        writers = [threading.Thread(target=write, args=(numbers,)) for numbers in batches]
        for writer in writers:
            writer.start()
        for writer in writers:
            writer.join()
        sdk.write("last", "x")
        assert enough.wait(60), f"{len(printed)} events printed"
        time.sleep(0.5)  # some more polls, which must print nothing
    finally:
        tail.send_signal(signal.SIGINT)
        status = tail.wait(30)
        reader.join()
        errors = tail.stderr.read()
        tail.stdout.close()
        tail.stderr.close()
    assert status == 130, errors
    paths = [event["data"]["path"] for event in printed]
    assert sorted(paths[1:-1]) == [f"workspace/f{number:03}" for number in range(500)]
    times = [event["created_at"] for event in printed]
    assert times == sorted(set(times))


def test_tail_shows_what_happens_now(trove, workspace, sdk):
    trove.point(workspace.key)
    sdk.write("before", "x")
    tail = trove.start("tail", "--interval", "0.1")
    try:
        assert (
            tail.stderr.readline() == f"tailing {workspace.workspace_id} namespace=main  (Ctrl-C to stop)\n"
        )
        with trove_sdk.TroveClient(workspace.key, "other", base_url=workspace.base_url) as other:
            other.write("elsewhere", "x")
        sdk.write("after", "x")
        sdk.delete("after")
        assert "file.written        main              workspace/after  (1B)" in tail.stdout.readline()
        assert "file.deleted        main              workspace/after" in tail.stdout.readline()
    finally:
        tail.terminate()
        tail.wait(30)
        tail.stdout.close()
        tail.stderr.close()
