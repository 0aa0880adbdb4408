"""The step context over the API: docs/wire.md, "Steps"."""

import pytest

from trove_agents.embedded import Trove
from trove_agents.server.settings import Settings
from trove_agents.wire.steps import Step, to_header

STEP = [("X-Trove-Step", 'thread="t-1", call="c"')]
SHOWN = {"thread": "t-1", "call": "c"}


@pytest.fixture
def trove(tmp_path, place):
    folder = tmp_path / "state"
    where = place(folder)
    url = where if isinstance(where, str) else None
    with Trove(Settings(folder, database_url=url, sandbox="none")) as trove:
        yield trove


def newest(api, namespace="main"):
    return api("GET", "/v1/history", namespace=namespace).json["entries"][0]


def restore(api):
    taken = api.snapshot()["snapshot_id"]
    return api("POST", f"/v1/snapshots/{taken}/restore", headers=STEP)


MUTATIONS = {
    "write": lambda api: api("POST", "/write", body={"path": "f", "content": "2"}, headers=STEP),
    "upload": lambda api: api.put("f", b"2", headers=STEP),
    "delete": lambda api: api.delete("f", headers=STEP),
    "mkdir": lambda api: api("POST", "/v1/files/mkdir", body={"path": "d"}, headers=STEP),
    "move": lambda api: api("POST", "/v1/files/move", body={"from": "f", "to": "g"}, headers=STEP),
    "copy": lambda api: api("POST", "/v1/files/copy", body={"from": "f", "to": "g"}, headers=STEP),
    "snapshot": lambda api: api("POST", "/v1/snapshots", headers=STEP),
    "restore": restore,
}


@pytest.mark.parametrize("kind", MUTATIONS)
def test_every_change_tells_its_step(api, kind):
    api.write("f", "1")
    answer = MUTATIONS[kind](api)
    assert answer.status in {200, 201}, answer.body
    made = newest(api)
    assert (made["kind"], made["step"]) == (kind, SHOWN)
    assert api.events()["events"][0]["step"] == SHOWN


def test_going_back_to_a_version_tells_its_step(api):
    api.write("f", "1")
    version = newest(api)["version"]
    api.write("f", "2")
    assert api("POST", "/v1/restore", body={"to": str(version)}, headers=STEP).status == 200
    assert (newest(api)["kind"], newest(api)["step"]) == ("restore", SHOWN)
    assert api.events()["events"][0]["step"] == SHOWN


def test_a_fork_tells_its_step(api):
    api.write("f")
    assert api("POST", "/v1/forks", body={"namespace": "copy", "key": True}, headers=STEP).status == 201
    made = newest(api, namespace="copy")
    assert (made["kind"], made["step"]) == ("fork", SHOWN)
    assert [(e["type"], e["step"]) for e in api.events()["events"][:2]] == [
        ("key.created", SHOWN),
        ("namespace.forked", SHOWN),
    ]


def test_a_deletion_tells_its_step(api):
    api.write("f")
    assert api("DELETE", "/v1/namespaces/main", namespace=None, headers=STEP).status == 200
    event = api.events()["events"][0]
    assert (event["type"], event["step"]) == ("namespace.deleted", SHOWN)


def test_a_command_tells_its_step(api):
    assert api("POST", "/v1/exec", body={"command": "echo 1 > f"}, headers=STEP).status == 200
    made = newest(api)
    assert (made["kind"], made["step"]) == ("exec", SHOWN)
    assert api.events()["events"][0]["step"] == SHOWN


def test_without_one_everything_is_as_it_was(api):
    api.write("f")
    assert newest(api)["step"] is None
    assert "step" not in api.events()["events"][0]
    api.write("f", "2", headers=[("X-Trove-Step", "")])
    assert newest(api)["step"] is None
    assert "step" not in api.events()["events"][0]


def test_the_history_of_a_file_has_it_too(api):
    api.write("f", "1", headers=STEP)
    api.write("f", "2")
    found = api("GET", "/v1/history", query={"path": "f"}).json["entries"]
    assert [entry["step"] for entry in found] == [None, SHOWN]


@pytest.mark.parametrize("text", ["t-1", 'user="x"', 'thread="a", thread="b"', 'thread="\xfc"', "x" * 513])
def test_what_is_no_step_changes_nothing(api, text):
    api.write("f", "1")
    for method, path, more in (
        ("POST", "/write", {"body": {"path": "f", "content": "2"}}),
        ("PUT", "/files/f", {"data": b"2"}),
        ("POST", "/v1/exec", {"body": {"command": "rm f"}}),
    ):
        answer = api(method, path, headers=[("X-Trove-Step", text)], **more)
        assert (answer.status, answer.json["code"]) == (400, "bad-request")
        assert answer.json["detail"].startswith("X-Trove-Step: ")
    assert api.read("f").json["content"] == "1"


def test_who_may_not_call_is_told_that_first(api):
    answer = api(
        "POST", "/write", body={"path": "f", "content": ""}, key="no", headers=[("X-Trove-Step", "x")]
    )
    assert answer.status == 401


def test_two_headers_are_ambiguous(api):
    answer = api("POST", "/v1/snapshots", headers=[*STEP, *STEP])
    assert (answer.status, answer.headers.get("connection")) == (400, "close")


@pytest.mark.parametrize("thread", ["für", "日本語 \U0001f600", 'a "b" \\ 100%', "", " a\u2028b "])
def test_any_text_comes_back(api, thread):
    api.write("f", headers=[("X-Trove-Step", to_header(Step(thread=thread)))])
    assert newest(api)["step"] == {"thread": thread}
    assert api.events(limit=1)["events"][0]["step"] == {"thread": thread}
