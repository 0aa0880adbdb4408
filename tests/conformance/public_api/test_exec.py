"""Commands through the SDK: wire 3.1, 6, 9.1 and the checks of section 11 that need a sandbox."""

import secrets

import httpx
import psutil
import pytest
from trove_sdk.exceptions import TroveError, TroveExecError

pytestmark = pytest.mark.sandbox
MB = 1024 * 1024


def test_output_and_failure(client):
    assert client.exec("echo out; echo err >&2") == "out\n"
    result = client.exec_detailed("echo out; echo err >&2; exit 3")
    assert (result.exit_code, result.stdout, result.stderr) == (3, "out\n", "err\n")
    assert result.duration_ms >= 0
    with pytest.raises(TroveExecError, match="err") as caught:
        client.exec("echo out; echo err >&2; exit 3")
    error = caught.value
    assert (error.exit_code, error.stdout, error.stderr, error.status_code) == (3, "out\n", "err\n", None)
    assert client.exec_detailed("kill -9 $$").exit_code == 137


def test_a_fresh_namespace(client):
    """Wire 11.1."""
    assert client.exec("rm -rf workspace/* 2>/dev/null; ls workspace/") == ""
    assert client.list_dir() == []


def test_a_fresh_namespace_of_each_of_many(colour, workspace):
    for number in range(5):
        assert colour.client(workspace.key, f"n{number}").exec("ls workspace/; pwd") == "workspace\n"


def test_the_root_under_both_of_its_names(client):
    client.write("data/a.csv", "1\n2\n3\n")
    client.write("notes/n.txt", "x")
    assert client.exec("wc -l < workspace/data/a.csv").strip() == "3"
    assert client.exec("wc -l < data/a.csv").strip() == "3"
    assert client.exec("cd workspace/data && ls") == "a.csv\n"
    assert client.exec("find workspace/ -name '*.csv'") == "workspace/data/a.csv\n"
    assert client.exec("find . -name '*.csv'") == "./data/a.csv\n"
    assert client.exec("md5sum workspace/* 2>/dev/null | wc -l").strip() == "0"
    assert client.exec("echo https://x.example/workspace/y") == "https://x.example/workspace/y\n"
    assert client.exec("pwd; cd data; pwd") == "workspace\nworkspace/data\n"
    assert client.exec("rm -rf workspace/* && ls -A workspace/") == ""
    assert client.list_dir() == []


def test_files_go_both_ways(client):
    client.upload("in.bin", bytes(range(256)))
    client.exec("cat in.bin in.bin > out.bin; mkdir -p made/empty; printf 'tschüß' > made/t.txt")
    assert client.read_bytes("out.bin") == bytes(range(256)) * 2
    assert client.read_text("workspace/made/t.txt") == "tschüß"
    assert [entry.path for entry in client.list_dir(recursive=True)] == [
        "workspace/made",
        "workspace/made/empty",
        "workspace/made/t.txt",
        "workspace/in.bin",
        "workspace/out.bin",
    ]
    client.delete("made")
    client.write("in.bin", "now text")
    assert client.exec("cat in.bin; ls") == "now textin.bin\nout.bin\n"


def test_chains(client):
    result = client.exec_chain(
        ["mkdir -p d", "cd d", "export V=7", 'f() { echo "$V"; }', "f > v.txt && pwd", "cat v.txt"]
    )
    assert (result.exit_code, result.stdout) == (0, "workspace/d\n7\n")
    result = client.exec_chain(["echo one", "false || exit 4", "echo never"])
    assert (result.exit_code, result.stdout) == (4, "one\n")
    assert client.exec_chain(["true && false || true", "cat"], stdin="piped").stdout == "piped"
    assert client.exec('pwd; echo "[$V]"') == "workspace\n[]\n"
    for bad in ([], [""], ["true", "  "]):
        with pytest.raises(ValueError, match="exec_chain"):
            client.exec_chain(bad)


def test_stdin(client):
    assert client.exec("cat", stdin="héllo\n𝄞") == "héllo\n𝄞"
    assert client.exec("cat", stdin="") == ""
    assert client.exec("cat; readlink /proc/self/fd/0") == "/dev/null\n"
    whole = "é" * (MB // 2)
    assert client.exec("wc -c", stdin=whole).strip() == str(MB)
    with pytest.raises(TroveError) as caught:
        client.exec("wc -c", stdin=whole + "x")
    assert (type(caught.value), caught.value.status_code) == (TroveError, 422)


@pytest.mark.parametrize("command", ["", " ", "\n\t", "echo a\x00b"])
def test_commands_that_are_none(client, command):
    with pytest.raises(TroveError) as caught:
        client.exec_detailed(command)
    assert caught.value.status_code == 422


def test_init_is_sourced_before_every_command(client):
    client.exec("mkdir -p data")
    client.set_init('cd workspace/data\nexport GREETING=hi\nsay() { echo "$GREETING $1"; }\n')
    assert client.exec("pwd; say you; ls workspace/") == "workspace/data\nhi you\ndata\n"
    client.clear_init()
    assert client.exec('pwd; echo "[$GREETING]"') == "workspace\n[]\n"


def test_a_hostile_init_takes_neither_stdin_nor_the_command(client):
    """Wire 11.5."""
    client.set_init("cat\nset -e\nfalse\n")
    result = client.exec_detailed("cat; echo ran", stdin="intact\n")
    assert (result.exit_code, result.stdout) == (0, "intact\nran\n")
    client.set_init("cd nowhere\nif then (\n")
    result = client.exec_detailed("echo ran; exit 5")
    assert (result.exit_code, result.stdout) == (5, "ran\n")
    assert result.stderr


def test_what_is_left_in_the_background_is_ended(client):
    """Wire 11.4: the client's own limit of 60 s is what a server would hit that waited for the pipe."""
    assert client.exec("sleep 100 & echo ok") == "ok\n"
    seconds = f"99.{secrets.randbelow(10**12)}"  # told apart from every other sleep of this machine
    assert client.exec(f"(setsid nohup sleep {seconds} >/dev/null 2>&1 &) ; echo ok") == "ok\n"
    assert seconds not in {
        part for process in psutil.process_iter(["cmdline"]) for part in process.info["cmdline"] or ()
    }


def test_programs_and_files_that_are_missing_are_results(client, workspace):
    """Wire 3.1 and 11.3: 404 would make the CLI run the command a second time."""
    assert client.exec_detailed("no-such-program").exit_code == 127
    assert client.exec_detailed("cat workspace/nope").exit_code == 1
    assert client.exec_detailed("cd nowhere && ls").exit_code == 1
    assert len(workspace.events(types="exec.completed")) == 3


def test_what_a_command_prints_is_text(client):
    assert client.exec(r"printf '\xff\xfeok\n'") == "��ok\n"
    result = client.exec_detailed(
        "head -c 3000000 /dev/zero | tr '\\0' x; head -c 2000000 /dev/zero | tr '\\0' y >&2"
    )
    assert (result.exit_code, result.stdout, result.stderr) == (0, "x" * MB, "y" * MB)


def test_the_servers_environment_is_not_the_commands(client, served):
    assert served.canary not in client.exec(
        "env; cat /proc/self/environ; cat /proc/1/environ 2>/dev/null; true"
    )
    assert "trove-sk-" not in client.exec("env; set")


def test_a_command_is_one_event_and_its_writes_are_none(client, workspace):
    client.exec_detailed("cat > f; rm f; echo out; echo err >&2; exit 3", stdin="five!")
    (event,) = workspace.events(namespace="main")
    assert event["type"] == "exec.completed"
    data = event["data"]
    assert (data["exit_code"], data["stdout"], data["stderr"], data["stdin_bytes"]) == (
        3,
        "out\n",
        "err\n",
        5,
    )
    assert data["command"] == "cat > f; rm f; echo out; echo err >&2; exit 3"
    assert isinstance(data["duration_ms"], int)
    assert "five!" not in str(event)


def test_the_old_text_endpoint(workspace):
    with workspace.http() as http:

        def run(command, **more):
            answer = http.post("/exec", json={"command": command, **more})
            assert answer.headers["content-type"].startswith("text/plain")
            return answer.status_code, answer.text

        assert run("echo out; echo err >&2") == (200, "out\n")
        assert run("echo out; echo err >&2; exit 3") == (200, "[exit 3]\nerr\n\nout\n")
        assert run("true") == (200, "(no output)")
        assert run("pwd") == (200, "workspace\n")
        assert run("cat", stdin="in") == (200, "in")
        assert http.post("/exec", json={"command": ""}).status_code == 422
        http.post("/write", json={"path": ".trove/init.sh", "content": "export A=1"})
        assert run("echo $A") == (200, "1\n")


def test_a_file_over_the_download_limit(sync):
    """Wire 11.7."""
    sync.exec(f"head -c {100 * MB} /dev/zero > big && printf z >> big")
    found = sync.read_bytes_full("workspace/big")
    assert (found.truncated, found.size_bytes, len(found.content)) == (True, 100 * MB + 1, 100 * MB)
    assert not found.content.strip(b"\0")
    assert sync.list_dir()[0].size_bytes == 100 * MB + 1
    assert sync.exec("tail -c 1 big") == "z"


def test_a_listing_of_more_than_a_thousand(client):
    client.exec("mkdir d && cd d && touch $(seq -w 1 1001)")
    for listing in (client.list_dir("d"), client.list_dir("d", recursive=True)):
        assert (len(listing), listing.truncated) == (1000, True)
    client.exec("rm d/0001")
    assert client.list_dir("d").truncated is False


def test_links_lead_nowhere_out_of_the_root(client):
    """Wire 11.12."""
    client.write("inside.txt", "mine")
    client.exec(
        "ln -s /etc/passwd out; ln -s ../../../../etc up; ln -s / root; ln -s inside.txt in; ln -s loop loop; ln -s /proc/self/environ proc; mkdir d; ln -s .. d/parent"
    )
    for path in ("out", "up/passwd", "root/etc/passwd", "loop", "proc"):
        for call in (client.read_text, client.read_bytes, client.read_bytes_full):
            with pytest.raises(TroveError) as caught:
                call(path)
            assert caught.value.status_code in {400, 404}
            assert "/etc" not in str(caught.value).replace(path, "")
    for call in (
        lambda: client.write("root/tmp/planted", "x"),
        lambda: client.upload("up/planted", b"x"),
        lambda: client.delete("root/etc/passwd"),
        lambda: client.list_dir("root"),
    ):
        with pytest.raises(TroveError):
            call()
    assert client.read_text("in") == "mine"
    assert client.read_text("d/parent/inside.txt") == "mine"
    shown = {entry.name: entry.is_dir for entry in client.list_dir()}
    assert shown == {
        "d": True,
        "in": False,
        "inside.txt": False,
        "loop": False,
        "out": False,
        "proc": False,
        "root": False,
        "up": False,
    }
    taken = client.create_snapshot()
    assert taken.size_bytes < 1000
    client.exec("rm -rf workspace/*")
    assert client.restore_snapshot(taken.snapshot_id) == 8
    assert client.exec("readlink out in up") == "/etc/passwd\ninside.txt\n../../../../etc\n"
    client.delete("root")
    client.delete("in")
    assert client.read_text("inside.txt") == "mine"
    assert client.exec("test -e /etc/passwd && echo there") == "there\n"


def test_a_restore_brings_back_all_of_it(client):
    """Wire 11.13."""
    client.set_init("export KEPT=yes")
    client.exec(
        "mkdir -p empty deep/er; chmod 711 empty; printf '#!/bin/sh\\necho run' > tool; chmod 750 tool; printf x > ro; chmod 400 ro; printf h > .hidden; touch -d 2001-02-03T04:05:06Z deep/er/old; ln -s tool link"
    )
    state = "find . -mindepth 1 -printf '%y %m %l %p\\n' | sort; find . -type f -printf '%s %T@ %p\\n' | sort"
    before = client.exec(state)
    taken = client.create_snapshot()
    client.exec("chmod 700 tool; rm -rf empty deep .hidden .trove ro link; echo new > new; mkdir ro")
    assert client.exec(state) != before
    assert client.restore_snapshot(taken.snapshot_id) == 6
    assert client.exec(state) == before
    assert (
        client.exec("./tool; echo $KEPT; stat -c %Y deep/er/old; stat -c %a empty tool ro")
        == "run\nyes\n981173106\n711\n750\n400\n"
    )
    assert [entry.modified_at for entry in client.list_dir("deep/er")] == ["2001-02-03T04:05:06.000000Z"]


def test_a_virtual_environment_lasts(client):
    """Wire 11.14."""
    if client.exec_detailed("python3 -m venv --without-pip .venv").exit_code:
        pytest.skip("no python3 with venv inside the sandbox")
    where = "import sys; print(sys.prefix != sys.base_prefix)"
    client.set_init("source workspace/.venv/bin/activate")
    assert client.exec(f"python -c '{where}'") == "True\n"
    taken = client.create_snapshot()
    client.exec("rm -rf .venv")
    client.restore_snapshot(taken.snapshot_id)
    assert client.exec(f"python -c '{where}'; .venv/bin/python3 -c '{where}'") == "True\nTrue\n"


def test_long_commands(client):
    """The kernel takes no single argument over 128 KB: the server must not hand the command over as one."""
    assert client.exec("echo " + "a" * 200_000) == "a" * 200_000 + "\n"
    assert client.exec(": " + "b" * 900_000 + "; echo done") == "done\n"
    with pytest.raises(TroveError) as caught:
        client.exec(": " + "c" * MB)
    assert caught.value.status_code == 422


def test_fifty_megabytes_of_output(sync):
    result = sync.exec_detailed("head -c 50000000 /dev/zero | tr '\\0' x; exit 3")
    assert (result.exit_code, result.stdout) == (3, "x" * MB)


def test_names_that_are_odd(client):
    """What a listing shows can be read and deleted by the path that it shows."""
    client.exec(
        r"printf 1 > $'\xff\xfe'; printf 2 > 'back\slash'; mkdir $'\xffd'; printf 3 > $'\xffd/e'; printf 4 > ' lead'; printf 5 > 'trail '; printf 6 > ...; printf 7 > -rf; printf 8 > '*'; printf 9 > 'q?#%41'"
    )
    shown = [entry for entry in client.list_dir(recursive=True) if not entry.is_dir]
    assert sorted(client.read_text(entry.path) for entry in shown) == list("123456789")
    for entry in shown:
        assert client.delete(entry.path) == entry.path
    assert client.exec("find . -type f") == ""
    client.exec(r"printf x > $'a\nb'")
    (entry,) = client.list_dir()[1:]
    assert entry.name == "a\nb"
    with pytest.raises(TroveError) as caught:  # a path of the API holds no control characters
        client.read_text(entry.path)
    assert caught.value.status_code == 400


def test_permissions_keep_commands_out_and_the_api_not(client):
    client.exec("echo hi > f; mkdir d; echo in > d/i; chmod 0 f d; chmod 400 d/i 2>/dev/null; true")
    assert client.read_text("f") == "hi\n"
    assert client.read_text("d/i") == "in\n"
    taken = client.create_snapshot()
    client.delete("d")
    assert client.exec("ls") == "f\n"
    assert client.restore_snapshot(taken.snapshot_id) == 2
    assert client.exec("stat -c '%a %n' d f") == "0 d\n0 f\n"


def test_what_is_no_file_is_not_kept(client):
    result = client.exec_detailed("mkfifo pipe; echo hi > f; ln f hard; echo more >> hard; ls")
    assert (result.exit_code, result.stdout) == (0, "f\nhard\npipe\n")
    assert [entry.name for entry in client.list_dir()] == ["f", "hard"]
    assert client.exec("cat f hard; ls; echo own > f; cat hard") == "hi\nmore\nhi\nmore\nf\nhard\nhi\nmore\n"


def test_a_command_that_nobody_waits_for_is_ended(sync, workspace):
    """Otherwise the next one in this namespace would wait for it."""
    sync.exec("true")
    with workspace.http() as http, pytest.raises(httpx.ReadTimeout):
        http.post("/v1/exec", json={"command": "echo x > begun; sleep 25; echo y > late"}, timeout=1)
    assert "late" not in sync.exec("ls")
    with pytest.raises(TroveError):
        sync.read_text("late")
