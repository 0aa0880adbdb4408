"""``POST /v1/exec`` and the older ``POST /exec``, as clients send them."""

import asyncio
import json

import pytest

from trove_agents.embedded import Trove
from trove_agents.server.exec.routes import text
from trove_agents.wire.exec import ExecResult


@pytest.fixture
def trove(tmp_path):
    with Trove.local(tmp_path / "state", sandbox="none") as trove:
        yield trove


def run(api, command, path="/v1/exec", **more):
    stdin = {"stdin": more.pop("stdin")} if "stdin" in more else {}
    return api("POST", path, body={"command": command, **stdin}, **more)


def test_the_answer(api):
    answer = run(api, "cat; echo $0 >&2; exit 3", stdin="in")
    assert answer.status == 200
    assert {**answer.json, "duration_ms": 0} == {
        "exit_code": 3,
        "stdout": "in",
        "stderr": "bash\n",
        "duration_ms": 0,
    }


def test_files_go_both_ways(api):
    api.write("a/b.txt", "hello")
    assert run(api, "tr a-z A-Z < workspace/a/b.txt > workspace/c.txt; ls").json["stdout"] == "a\nc.txt\n"
    assert api.read("c.txt").json["content"] == "HELLO"
    assert [entry["name"] for entry in api.list().json["entries"]] == ["a", "c.txt"]
    assert [event["type"] for event in api.events()["events"]][:2] == ["exec.completed", "file.written"]


def test_fresh_namespaces_and_missing_things_are_never_404(api):
    assert run(api, "rm -rf workspace/* 2>/dev/null; ls workspace/", namespace="fresh").json["exit_code"] == 0
    assert run(api, "cat workspace/none; nosuchprogram", namespace="fresh").json["exit_code"] == 127


def test_a_snapshot_brings_back_what_a_command_removed(api):
    run(
        api,
        "mkdir -p .trove d/empty; echo x > .trove/init.sh; echo f > d/f; chmod 750 d/f; touch -d @1000000000 d/f",
    )
    kept = api.snapshot()
    run(api, "rm -rf workspace/* workspace/.trove")
    assert api("POST", f"/v1/snapshots/{kept['snapshot_id']}/restore").status == 200
    answer = run(api, "stat -c '%a %Y' d/f; cat d/f; ls -d d/empty .trove/init.sh")
    assert answer.json["stdout"] == "750 1000000000\nf\n.trove/init.sh\nd/empty\n"


@pytest.mark.parametrize(
    "body",
    [
        b"{}",
        b'{"command": ""}',
        b'{"command": " "}',
        b'{"command": "a\\u0000"}',
        b'{"command": 1}',
        b'{"command": "a", "stdin": 1}',
        b"no json",
        json.dumps({"command": "cat", "stdin": "x" * (1024 * 1024 + 1)}).encode(),
        b'{"command": "a", "timeout": 601}',
        b'{"command": "a", "timeout": "1"}',
        b'{"command": "a", "env": {"A": 1}}',
        b'{"command": "a", "env": ["A"]}',
        b'{"command": "a", "cwd": 1}',
    ],
)
def test_bodies_that_are_refused(api, body):
    answer = api("POST", "/v1/exec", data=body)
    assert answer.status == 422 and answer.json["code"] == "unprocessable"


def test_keys_without_the_right(api, trove):
    assert run(api, "true", key="trove-sk-unknown").status == 401
    assert run(api, "true", key=trove.credentials.admin_key).status == 403
    assert run(api, "true", namespace="a/b").status == 400


def test_the_largest_command_and_input(api):
    command = "wc -c; true " + "x" * (1024 * 1024 - 13)
    answer = api("POST", "/v1/exec", body={"command": command, "stdin": "\x01" * 1024 * 1024})
    assert answer.status == 200 and answer.json["stdout"].strip() == "1048576"


LEGACY = [
    ("echo hi", "hi\n"),
    ("true", "(no output)"),
    ("echo only err >&2", "(no output)"),
    ("echo out; echo err >&2; exit 4", "[exit 4]\nerr\n\nout\n"),
    ("pwd", "workspace\n"),
]


@pytest.mark.parametrize(("command", "expected"), LEGACY)
def test_the_older_call_answers_in_text(api, command, expected):
    answer = run(api, command, "/exec")
    assert answer.status == 200 and answer.headers["content-type"].startswith("text/plain")
    assert answer.body.decode() == expected


def test_text_of_a_silent_failure():
    assert text(ExecResult(1, "", "", 0)) == "[exit 1]\n\n"


async def test_a_caller_that_goes_away_ends_its_command(api, trove, tmp_path):
    """As a server with sockets tells it: ``http.disconnect`` while the command runs."""
    app = trove._runtime().app
    sent = []
    gone = asyncio.Event()
    messages = [
        {
            "type": "http.request",
            "body": json.dumps({"command": "touch started; sleep 60"}).encode(),
            "more_body": False,
        }
    ]

    async def receive():
        if messages:
            return messages.pop()
        await gone.wait()
        return {"type": "http.disconnect"}

    async def send(message):
        sent.append(message)

    headers = [(b"authorization", f"Bearer {api.key}".encode()), (b"x-namespace", b"main")]
    scope = {
        "type": "http",
        "method": "POST",
        "path": "/v1/exec",
        "query_string": b"",
        "headers": headers,
        "client": ("127.0.0.1", 1),
        "root_path": "",
    }
    call = asyncio.create_task(app(scope, receive, send))
    while not list((tmp_path / "state" / "copies").glob("*/*/started")):
        await asyncio.sleep(0.01)
    gone.set()
    await asyncio.wait_for(call, 20)
    assert sent == []
    answer = await asyncio.get_running_loop().run_in_executor(None, lambda: run(api, "ls"))
    assert answer.json["stdout"] == ""


def test_options(api):
    api.write("d/f")
    body = {"command": "echo $A; ls", "timeout": 60, "env": {"A": "x"}, "cwd": "workspace/d"}
    for path in ("/v1/exec", "/exec"):
        assert b"x" in api("POST", path, body=body).body
    assert api("POST", "/v1/exec", body=body).json["stdout"] == "x\nf\n"
    answer = api("POST", "/v1/exec", body=body | {"cwd": "none"})  # never 404, see above
    assert (answer.status, answer.json["detail"]) == (400, "cwd: workspace/none is no directory")
    assert "exec.options" in api("GET", "/v1/me").json["capabilities"]


def test_a_command_takes_a_reference_along(api):
    step = ("X-Trove-Step", 'thread="t", step="1"')
    asked = [("X-Trove-Reference", "1"), step]
    made = run(api, "echo one > workspace/f", headers=asked).json["reference_id"]
    run(api, "echo two > workspace/f")
    assert api.get("f", query={"at": made}).body == b"one\n"
    same = [run(api, "true", headers=asked).json["reference_id"] for _ in range(2)]
    assert same[0] == same[1] != made
    assert api.get("f", query={"at": same[0]}).body == b"two\n"
    assert "reference_id" not in run(api, "true").json
    run(api, "echo three > workspace/f", path="/exec", headers=asked)
    told = api("POST", "/v1/references", headers=[step]).json["reference_id"]
    assert api("GET", "/v1/references").json["references"][0]["reference_id"] == told
    assert len(api("GET", "/v1/references").json["references"]) == 3
