"""``Idempotency-Key`` over the API: docs/wire.md, "Sending a call again"."""

import json
import time
from concurrent.futures import ThreadPoolExecutor

import pytest
from sqlalchemy import select, update

from trove_agents.embedded import Trove
from trove_agents.server.db.tables import answers as rows
from trove_agents.server.db.tables import locks as locked
from trove_agents.server.idempotency.answers import KEPT_BYTES
from trove_agents.server.jobs import DAY


def keyed(key):
    return {"headers": [("Idempotency-Key", key)]}


def versions(api):
    return len(api("GET", "/v1/history").json["entries"])


def prepare(api):
    api.write("a/b", "1")
    api.write("c", "2")
    return api.snapshot()["snapshot_id"]


CALLS = {
    "write": ("POST", "/write", {"path": "f", "content": "x"}),
    "delete": ("POST", "/delete", {"path": "a"}),
    "mkdir": ("POST", "/v1/files/mkdir", {"path": "d"}),
    "move": ("POST", "/v1/files/move", {"from": "a", "to": "e"}),
    "copy": ("POST", "/v1/files/copy", {"from": "a", "to": "e"}),
    "snapshot": ("POST", "/v1/snapshots", {"label": "s"}),
    "restore": ("POST", "/v1/snapshots/{}/restore", None),
    "delete snapshot": ("DELETE", "/v1/snapshots/{}", None),
    "restore state": ("POST", "/v1/restore", {"to": "{}"}),
    "fork": ("POST", "/v1/forks", {"namespace": "other"}),
    "reference": ("POST", "/v1/references", {"thread": "t"}),
}


@pytest.mark.parametrize("name", CALLS)
def test_a_call_that_is_sent_again_is_answered_again_and_not_done_again(api, name):
    method, path, body = CALLS[name]
    snapshot = prepare(api)
    api.write("later")
    body = json.loads(json.dumps(body).replace("{}", snapshot)) if body else body
    first = api(method, path.format(snapshot), body=body, **keyed("k"))
    assert first.status in (200, 201), first.body
    assert "idempotency-replayed" not in dict(first.headers)
    before = versions(api), api.events()
    again = api(method, path.format(snapshot), body=body, **keyed('"k"'))
    assert (again.status, again.body) == (first.status, first.body)
    assert dict(again.headers)["idempotency-replayed"] == "true"
    assert (versions(api), api.events()) == before


def test_without_a_key_it_is_done_again(api):
    api.write("f", "1")
    assert versions(api) + 1 == (api.write("f", "2"), versions(api))[1]


def test_deleting_a_namespace_is_answered_again(api):
    api.write("f")
    first = api("DELETE", "/v1/namespaces/main", **keyed("k"))
    api.write("f", "new")
    again = api("DELETE", "/v1/namespaces/main", **keyed("k"))
    assert (again.status, again.body) == (200, first.body)
    assert api.read("f").json["content"] == "new"


def test_an_upload_is_known_by_what_it_holds(api):
    data = b"x" * 3_000_000
    first = api.put("f", data, **keyed("k"))
    assert first.status == 200
    api.write("f", "newer")
    again = api.put("f", data, **keyed("k"))
    assert (again.body, dict(again.headers)["idempotency-replayed"]) == (first.body, "true")
    assert api.put("f", data + b"y", **keyed("k")).status == 422
    assert api.read("f").json["content"] == "newer"


def test_an_upload_that_filled_the_namespace_is_answered_again(api):
    made = api.trove.credentials
    api.write("f", "1")
    answer = api(
        "PATCH", "/v1/namespaces/main", body={"quota_bytes": 300_000}, key=made.admin_key, namespace=None
    )
    assert answer.status == 200, answer.body
    first = api.put("f", b"x" * 200_000, **keyed("k"))
    assert first.status == 200
    api("POST", "/v1/files/move", body={"from": "f", "to": "g"})
    assert api.put("f", b"x" * 200_000, **keyed("k2")).status == 413
    assert api.put("f", b"x" * 200_000, **keyed("k")).body == first.body


@pytest.mark.parametrize(
    ("path", "body", "headers", "namespace"),
    [
        ("/write", {"path": "f", "content": "y"}, [], "main"),
        ("/write", {"path": "f", "content": "x"}, [("If-Match", "*")], "main"),
        ("/write", {"path": "f", "content": "x"}, [], "else"),
        ("/v1/files/mkdir", {"path": "f"}, [], "main"),
    ],
)
def test_a_key_belongs_to_one_request(api, path, body, headers, namespace):
    assert api("POST", "/write", body={"path": "f", "content": "x"}, **keyed("k")).status == 200
    answer = api("POST", path, body=body, headers=[("Idempotency-Key", "k"), *headers], namespace=namespace)
    assert (answer.status, answer.json["code"]) == (422, "idempotency-mismatch")
    assert api.read("f").json["content"] == "x"


def test_a_key_is_one_api_keys_own(api):
    other = api.keys("POST", name="o", scope="workspace")
    assert other.status == 201, other.body
    api.write("f", "1", **keyed("k"))
    theirs = api.with_key(other.json["api_key"])
    theirs.write("f", "2", **keyed("k"))
    assert api.read("f").json["content"] == "2"


def test_a_refusal_keeps_the_key_free(api):
    move = ("POST", "/v1/files/move", {"from": "a", "to": "b"})
    assert api(*move[:2], body=move[2], **keyed("k")).status == 404
    api.write("a")
    assert api(*move[:2], body=move[2], **keyed("k")).status == 200


@pytest.mark.parametrize(
    "key", ["", '""', '"open', "a b", "a" * 256, '"' + "a" * 256 + '"', "\x7f", '"a\\b"']
)
def test_what_is_no_key_is_refused(api, key):
    answer = api("POST", "/write", body={"path": "f", "content": "x"}, **keyed(key))
    assert (answer.status, "Idempotency-Key" in answer.json["detail"]) == (400, True)
    assert api.read("f").status == 404


def test_a_quoted_key_is_the_same_as_a_plain_one_and_may_hold_quotes(api):
    for key in ("a" * 255, '"' + "b" * 255 + '"', '"say \\"x\\" \\\\ y"'):
        assert api("POST", "/v1/files/mkdir", body={"path": "d"}, **keyed(key)).status == 200


def test_calls_that_cannot_keep_an_answer_take_no_key(api):
    answer = api(
        "POST",
        f"/v1/workspaces/{api.trove.credentials.workspace_id}/keys",
        body={"name": "o"},
        key=api.trove.credentials.admin_key,
        namespace=None,
        **keyed("k"),
    )
    assert answer.status == 400
    assert api("GET", "/v1/files", **keyed("k")).status == 200


def test_an_answer_with_a_secret_is_not_kept(api):
    body = {"namespace": "other", "key": True}
    assert api("POST", "/v1/forks", body=body, **keyed("k")).status == 201
    again = api("POST", "/v1/forks", body=body, **keyed("k"))
    assert (again.status, again.json["code"]) == (409, "idempotency-answer-not-kept")


def test_an_answer_is_kept_for_a_day(api):
    first = api.write("f", "1", **keyed("k"))
    jobs, database = api.trove.server.jobs, api.trove.server.database
    now = database.now_ns()
    jobs.run_due()
    for hours, kept in ((23, True), (25, False)):
        database.now_ns = lambda hours=hours: now + hours * DAY // 24 * 10**9
        jobs.run_due()
        with database.read() as db:
            assert bool(db.all(select(rows.c.key))) == kept
    assert api.write("f", "1", **keyed("k"))["etag"] != first["etag"]


def test_an_old_answer_is_none_whether_it_was_deleted_or_not(api):
    database = api.trove.server.database
    now = database.now_ns()
    first = api.write("f", "1", **keyed("k"))
    database.now_ns = lambda: now + 23 * 3600 * 10**9
    assert api.write("f", "1", **keyed("k")) == first
    database.now_ns = lambda: now + 25 * 3600 * 10**9
    second = api.write("f", "2", **keyed("k"))  # another request: the key is free
    assert second["etag"] != first["etag"]
    assert api.write("f", "2", **keyed("k")) == second


def test_of_many_at_once_one_is_done(api):
    with ThreadPoolExecutor(16) as pool:
        done = list(
            pool.map(lambda _: api("POST", "/v1/snapshots", body={"label": "s"}, **keyed("k")), range(16))
        )
    assert {each.status for each in done} == {201}
    assert len({each.body for each in done}) == 1
    assert len(api("GET", "/v1/snapshots").json["snapshots"]) == 1


class TestCommands:
    @pytest.fixture
    def trove(self, tmp_path):
        with Trove.local(tmp_path / "state", sandbox="none") as trove:
            yield trove

    def run(self, api, command, key="k", **more):
        return api("POST", "/v1/exec", body={"command": command, **more}, **keyed(key))

    def test_a_command_runs_once(self, api):
        first = self.run(api, "echo x >> f; cat f; exit 3")
        again = self.run(api, "echo x >> f; cat f; exit 3")
        assert (first.json["stdout"], first.json["exit_code"]) == ("x\n", 3)
        assert again.body == first.body
        assert dict(again.headers)["idempotency-replayed"] == "true"
        assert api.read("f").json["content"] == "x\n"
        assert self.run(api, "echo other").json["code"] == "idempotency-mismatch"
        assert self.run(api, "echo x >> f; cat f; exit 3", "k2").json["stdout"] == "x\nx\n"

    def test_one_that_ran_out_of_time_kept_its_files_and_is_not_run_again(self, api):
        first = self.run(api, "echo x >> f; sleep 20", timeout=0.3)
        again = self.run(api, "echo x >> f; sleep 20", timeout=0.3)
        assert (first.status, again.status, again.body) == (408, 408, first.body)
        assert api.read("f").json["content"] == "x\n"

    def test_a_refused_one_runs_when_it_is_sent_again(self, api):
        command = {"command": "echo x >> f", "cwd": "later"}
        assert api("POST", "/v1/exec", body=command, **keyed("k")).status == 400
        api("POST", "/v1/files/mkdir", body={"path": "later"})
        assert api("POST", "/v1/exec", body=command, **keyed("k")).status == 200

    def test_a_long_answer_is_not_kept_and_the_command_not_run_again(self, api):
        command = "echo x >> f; head -c 1000000 /dev/zero | tr '\\0' '\\1'"  # six bytes each in JSON
        assert len(self.run(api, command).body) > KEPT_BYTES
        assert self.run(api, command).json["code"] == "idempotency-answer-not-kept"
        assert api.read("f").json["content"] == "x\n"

    def test_a_stream_tells_the_result_again(self, api):
        more = {"headers": [("Idempotency-Key", "k"), ("Accept", "text/event-stream")]}
        for command, timeout, kind in (("echo x", 30, "result"), ("echo x; sleep 20", 0.3, "error")):
            more["headers"][0] = ("Idempotency-Key", kind)
            body = {"command": command, "timeout": timeout}
            first = api("POST", "/v1/exec", body=body, **more).body.split(b"\n\n")
            again = api("POST", "/v1/exec", body=body, **more).body.split(b"\n\n")
            assert again == [first[-2], b""]
            assert again[0].startswith(f"event: {kind}\n".encode())

    def test_while_it_runs_the_key_is_taken(self, api, tmp_path):
        begun, go = tmp_path / "begun", tmp_path / "go"
        command = f"echo x >> f; touch {begun}; until test -e {go}; do sleep 0.01; done; cat f"
        with ThreadPoolExecutor(1) as pool:
            first = pool.submit(self.run, api, command)
            wait_for(begun.exists)
            taken = self.run(api, command)
            assert (taken.status, taken.json["code"]) == (409, "idempotency-in-flight")
            assert int(dict(taken.headers)["retry-after"]) >= 1
            go.touch()
            assert first.result(30).json["stdout"] == "x\n"
        assert self.run(api, command).json["stdout"] == "x\n"

    def test_a_claim_whose_lock_is_gone_is_free(self, api):
        api.write("f", "")
        database, locks = api.trove.server.database, api.trove.server.locks
        command = {"command": "echo x >> f; cat f"}
        assert api("POST", "/v1/exec", body=command, **keyed("k")).json["stdout"] == "x\n"
        undone = update(rows).values(status=None, body=None, holder=f"{locks.holder}/99")
        database.write(lambda tx: tx.run(undone))
        database.write(lambda tx: tx.run(update(locked).values(holder=locks.holder, token=98, expires_us=0)))
        assert api("POST", "/v1/exec", body=command, **keyed("k")).json["stdout"] == "x\nx\n"
        assert api("POST", "/v1/exec", body=command, **keyed("k")).json["stdout"] == "x\nx\n"


def wait_for(true):
    deadline = time.monotonic() + 30
    while not true():
        assert time.monotonic() < deadline
        time.sleep(0.005)
