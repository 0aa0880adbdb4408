"""Two tenants of one workspace, each with a key that is locked to a namespace: what one learns of the other.

Whatever is the other's gets the answer that something gets which never was.
"""

import json

import pytest


@pytest.fixture
def tenants(api):
    """The attacker, the other one, and what the other one has. Both have the same files, versions apart."""

    def locked(name):
        return api.with_key(api.keys("POST", name=f"key of {name}", namespace=name).json["api_key"], None)

    mine, theirs = locked("mine"), locked("theirs")
    for tenant in (mine, theirs):
        for number in range(3):
            tenant.write(f"secret{number}", f"of {tenant.key[:12]}")
    has = {
        "snapshot": theirs.snapshot("their label")["snapshot_id"],
        "reference": theirs("POST", "/v1/references", body={"thread": "their thread"}).json["reference_id"],
        "lease": theirs("POST", "/v1/leases", body={"holder": "their holder"}).json["lease_id"],
        "version": str(theirs("GET", "/v1/history").json["entries"][-1]["version"]),
    }
    return mine, theirs, has


NEVER = {
    "snapshot": "snap-00000000000000aa",
    "reference": "ref-00000000000000aa",
    "lease": "lease-000000000000000000000000000000aa",
}
STATES = [("snapshot", "snap"), ("reference", "ref")]


def the_same(mine, has, kind, method, path, *, body=None, query=None, headers=()):
    """Sends the other's id and one that never was; the answers."""

    def filled(value, id_):
        return json.loads(json.dumps(value).replace("ID", id_)) if value else value

    answers = []
    for id_ in (has[kind], NEVER[kind]):
        told = [(name, value.replace("ID", id_)) for name, value in headers]
        answer = mine(
            method, path.replace("ID", id_), body=filled(body, id_), query=filled(query, id_), headers=told
        )
        assert "their" not in answer.body.decode()
        answers.append((answer.status, answer.body))
    assert answers[0] == answers[1]
    return answers[0][0]


@pytest.mark.parametrize("kind", ["snapshot", "reference"])
def test_states_of_another(tenants, kind):
    mine, theirs, has = tenants
    before = mine("GET", "/v1/history").body
    for path, query in [
        ("/v1/files", {"at": "ID"}),
        ("/v1/files", {"at": "ID", "limit": "1"}),
        ("/v1/files/content", {"path": "secret0", "at": "ID"}),
        ("/v1/files/stat", {"path": "secret0", "at": "ID"}),
        ("/files/secret0", {"at": "ID"}),
        ("/v1/diff", {"from": "ID"}),
        ("/v1/diff", {"from": "9" * 18, "to": "ID"}),
    ]:
        assert the_same(mine, has, kind, "GET", path, query=query) == 404
    for path, body in [
        ("/v1/restore", {"to": "ID"}),
        ("/v1/snapshots/ID/restore", None),
        ("/v1/forks", {"namespace": "mine-fork", "from": "ID"}),
    ]:
        assert the_same(mine, has, kind, "POST", path, body=body) == 404
    for path in ("/v1/snapshots/ID", "/v1/references/ID"):
        assert the_same(mine, has, kind, "DELETE", path) == 404
    assert the_same(mine, has, "reference", "POST", "/v1/references/delete", body={"ids": ["ID"]}) == 200
    assert mine("GET", "/v1/history").body == before
    assert theirs("GET", "/v1/files", query={"at": has[kind]}).status == 200


def test_a_lease_of_another_is_neither_used_nor_renewed_nor_ended(tenants):
    mine, theirs, has = tenants
    held = theirs("GET", "/v1/leases").body
    assert the_same(mine, has, "lease", "POST", "/v1/leases/ID", body={"ttl": 3600}) == 409
    assert the_same(mine, has, "lease", "DELETE", "/v1/leases/ID") == 200
    lease = [("X-Trove-Lease", "ID")]
    assert (
        the_same(mine, has, "lease", "POST", "/write", body={"path": "f", "content": ""}, headers=lease)
        == 409
    )
    assert theirs("GET", "/v1/leases").body == held
    assert mine("GET", "/v1/leases").json["holder"] is None
    mine.write("not locked out")


def test_cursors_of_another_go_on_in_ones_own(tenants):
    mine, theirs, _ = tenants
    workspace = mine.trove.credentials.workspace_id
    for number in range(2):
        theirs("POST", "/v1/references", body={"thread": f"their {number}"})
        theirs("POST", "/v1/snapshots", body={"label": f"their {number}"})
    first = str(theirs("GET", "/v1/history").json["entries"][-1]["version"])
    for path, query in [
        ("/v1/files", {"limit": "1"}),
        ("/v1/files", {"limit": "1", "recursive": "true"}),
        ("/v1/history", {"limit": "1"}),
        ("/v1/diff", {"limit": "1", "from": first}),
        ("/v1/references", {"limit": "1"}),
        (f"/v1/workspaces/{workspace}/events", {"limit": "1"}),
    ]:
        cursor = theirs("GET", path, query=query).json["next_cursor"]
        assert cursor, path
        answer = mine("GET", path, query={**query, "cursor": cursor})
        assert answer.status in {200, 400, 404}, (path, answer.body)
        assert b"their" not in answer.body
        assert theirs.key[:12].encode() not in answer.body


def test_an_answer_of_another_is_not_given(tenants):
    mine, theirs, _ = tenants
    key = [("Idempotency-Key", '"the same"')]
    for tenant in (theirs, mine):
        answer = tenant("POST", "/v1/snapshots", body={"label": None}, headers=key)
        assert answer.status == 201
        assert "idempotency-replayed" not in answer.headers
        assert answer.json["namespace"] == ("theirs" if tenant is theirs else "mine")


@pytest.mark.parametrize("header", ["theirs", "mine-fork", "THEIRS", "never-was"])
def test_no_header_opens_another_namespace(tenants, header):
    mine, _, _ = tenants
    answer = mine("GET", "/v1/files", namespace=header)
    assert (answer.status, answer.json["detail"]) == (403, "this key is locked to namespace 'mine'")


def test_what_is_told_of_the_workspace_is_ones_own(tenants):
    mine, _theirs, _ = tenants
    workspace = mine.trove.credentials.workspace_id
    other = mine.trove.server.keys.create_workspace("another workspace")
    for path in (
        "/v1/me",
        "/v1/namespaces",
        "/v1/namespaces/mine",
        "/v1/history",
        "/v1/snapshots",
        "/v1/references",
        "/v1/leases",
        f"/v1/workspaces/{workspace}/events",
    ):
        answer = mine("GET", path)
        assert answer.status == 200
        assert b"their" not in answer.body
    for name in ("theirs", "never-was"):
        for method, path in [("GET", f"/v1/namespaces/{name}"), ("PATCH", f"/v1/namespaces/{name}")]:
            answer = mine(method, path, body={})
            assert (answer.status, b"mine" in answer.body) == (403, True)
    refused = {
        (answer.status, answer.body)
        for id_ in (other.workspace_id, "ws-never-was")
        for path in ("events", "keys")
        for answer in [mine("GET", f"/v1/workspaces/{id_}/{path}")]
    }
    assert len(refused) == 1
    assert mine("GET", f"/v1/workspaces/{workspace}/keys").status == 403
    assert mine("GET", f"/v1/workspaces/{workspace}/events", query={"namespace": "theirs"}).status == 403


def test_forks_of_another_and_of_an_ancestor(tenants):
    """A key that is locked to a fork sees of what the fork was made from only the state that it starts as."""
    mine, theirs, has = tenants
    lease = [("X-Trove-Lease", has["lease"])]
    theirs("POST", "/write", body={"path": "early", "content": "removed before the fork"}, headers=lease)
    early = theirs("GET", "/v1/files/stat", query={"path": "early"}).json["version"]
    theirs("POST", "/delete", body={"path": "early"}, headers=lease)
    made = theirs("POST", "/v1/forks", body={"namespace": "theirs-fork"}).json
    fork = mine.with_key(made["key"]["api_key"], None)
    assert fork.read("secret0").status == 200
    for at in (str(early), has["version"], has["snapshot"], has["reference"]):
        answer = fork("GET", "/v1/files/content", query={"path": "early", "at": at})
        assert answer.status == 404, at
        assert b"removed" not in answer.body
    for query in ({}, {"path": "early"}, {"path": "secret0"}):
        for entry in fork("GET", "/v1/history", query=query).json["entries"]:
            assert entry["version"] >= made["version"]
    assert mine("POST", "/v1/forks", body={"namespace": "theirs-stolen"}).status == 403


def test_a_key_that_was_revoked_does_nothing_more(api):
    made = api.keys("POST", name="short", namespace="mine").json
    tenant = api.with_key(made["api_key"], None)
    once = [("Idempotency-Key", '"once"')]
    assert tenant("POST", "/write", body={"path": "f", "content": "x"}, headers=once).status == 200
    assert api.keys("DELETE", made["key_id"]).status == 200
    assert tenant("POST", "/write", body={"path": "f", "content": "x"}, headers=once).status == 401
    assert tenant.read("f").status == 401


@pytest.mark.parametrize(
    "key",
    ["", " ", "trove-sk-", "trove-sk-" + "0" * 40, "' OR 1=1 --", "%", "\x00", "\xff" * 40, "x" * 60_000],
)
def test_guesses_are_all_told_the_same(api, key):
    answer = api("GET", "/v1/me", key=key or "x")
    assert (answer.status, answer.json["detail"]) == (401, "unknown or revoked API key")
