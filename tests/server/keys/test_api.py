"""Keys and workspaces over the API: wire 2, 3.9, 3.12, 3.14."""

import re

import pytest

from trove_agents.server.errors import Conflict, Unprocessable

RUNTIME = [
    ("POST", "/v1/exec", {"command": "true"}),
    ("POST", "/exec", {"command": "true"}),
    ("POST", "/write", {"path": "a", "content": ""}),
    ("PUT", "/files/a", None),
    ("GET", "/files/a", None),
    ("POST", "/delete", {"path": "a"}),
    ("GET", "/v1/files", None),
    ("GET", "/v1/files/content?path=a", None),
    ("POST", "/v1/snapshots", {}),
    ("GET", "/v1/snapshots", None),
    ("POST", "/v1/snapshots/snap-0/restore", None),
    ("DELETE", "/v1/snapshots/snap-0", None),
    ("GET", "/v1/files/stat?path=a", None),
    ("GET", "/v1/files?at=snap-0", None),
    ("GET", "/files/a?at=0", None),
    ("GET", "/v1/diff?from=snap-0", None),
    ("GET", "/v1/history", None),
    ("POST", "/v1/forks", {"namespace": "mine-fork"}),
]


def send(api, method, path, body, **more):
    path, _, query = path.partition("?")
    return api(method, path, body=body, query=dict([query.split("=")]) if query else None, **more)


def test_three_kinds_of_key(api):
    locked = api.keys("POST", name="locked", namespace="mine").json
    unlocked = api.keys("POST", name="open", namespace=None).json
    admin = api.keys("POST", name="boss", admin=True).json
    assert re.fullmatch(r"trove-sk-[0-9a-f]{32,}", locked["api_key"])
    assert len(locked["key_id"]) <= 20 and locked["key_id"].startswith("key-")
    assert locked["api_key"].startswith(locked["prefix"])
    assert (locked["scope"], locked["namespace"]) == ("workspace", "mine")
    assert (unlocked["scope"], unlocked["namespace"]) == ("workspace", None)
    assert (admin["scope"], admin["namespace"]) == ("admin", None)
    for made in (locked, unlocked, admin):
        me = api("GET", "/v1/me", key=made["api_key"], namespace=None).json
        assert (me["key_id"], me["key_name"], me["scope"], me["namespace"]) == (
            made["key_id"],
            made["name"],
            made["scope"],
            made["namespace"],
        )
        assert me["workspace_id"] == api.trove.credentials.workspace_id
        assert "exec.stdin" in me["capabilities"]


@pytest.mark.parametrize(("method", "path", "body"), RUNTIME)
def test_scopes_on_every_runtime_call(api, method, path, body):
    """Wire 11.8: locked key in another namespace 403, admin key 403, revoked 401, no header 400."""
    locked = api.keys("POST", name="l", namespace="mine").json["api_key"]
    answer = send(api, method, path, body, key=locked, namespace="other")
    assert answer.status == 403
    assert "mine" in answer.json["detail"] and "other" not in answer.json["detail"]
    assert send(api, method, path, body, key=api.trove.credentials.admin_key).status == 403
    assert send(api, method, path, body, namespace=None).status == 400
    assert send(api, method, path, body, namespace="bad name").status == 400
    assert send(api, method, path, body, key="trove-sk-unknown").status == 401
    assert send(api, method, path, body, key=locked, namespace=None).status in {200, 201, 404}


def test_revocation_is_immediate(api):
    made = api.keys("POST", name="short").json
    api.write("f", key=made["api_key"])
    assert api.keys("DELETE", made["key_id"]).json == {"key_id": made["key_id"], "revoked": True}
    assert api.list(key=made["api_key"]).status == 401
    assert api.keys("DELETE", made["key_id"]).status == 404
    assert api.keys("DELETE", "key-unknown").status == 404


def test_listing_shows_active_keys_without_secrets(api):
    made = api.keys("POST", name="one", namespace="n").json
    gone = api.keys("POST", name="two").json
    api.keys("DELETE", gone["key_id"])
    listed = {key["key_id"]: key for key in api.keys().json["keys"]}
    assert gone["key_id"] not in listed
    assert listed[made["key_id"]] == {k: v for k, v in made.items() if k != "api_key"}
    assert all("api_key" not in key for key in listed.values())


def test_who_may_manage_keys(api):
    workspace = api.trove.credentials.workspace_id
    path = f"/v1/workspaces/{workspace}/keys"
    locked = api.keys("POST", name="l", namespace="mine").json["api_key"]
    assert api("GET", path).status == 200
    assert api("GET", path, key=locked, namespace=None).status == 403
    assert api("POST", path, body={"name": "x"}).status == 403
    assert api("POST", path, body={"name": "x"}, key=locked).status == 403
    assert api("DELETE", path + "/key-x").status == 403
    other = api.trove.server.keys.create_workspace("other")
    for method, where in (("GET", path), ("POST", path), ("DELETE", path + "/key-x")):
        assert (
            api(method, where, body={"name": "x"} if method == "POST" else None, key=other.admin_key).status
            == 403
        )


def test_the_last_admin_key_stays(api):
    admins = [key["key_id"] for key in api.keys().json["keys"] if key["scope"] == "admin"]
    assert len(admins) == 1
    assert api.keys("DELETE", admins[0]).status == 409
    api.keys("POST", name="second", admin=True)
    assert api.keys("DELETE", admins[0]).status == 200


@pytest.mark.parametrize(
    "body",
    [
        {"name": ""},
        {"name": " "},
        {"name": "x" * 257},
        {"name": 5},
        {},
        {"name": "x", "namespace": "bad name"},
        {"name": "x", "namespace": ""},
        {"name": "x", "namespace": "n\n"},
        {"name": "x", "admin": True, "namespace": "n"},
    ],
)
def test_malformed_keys(api, body):
    before = len(api.keys().json["keys"])
    made = api.trove.credentials
    answer = api("POST", f"/v1/workspaces/{made.workspace_id}/keys", body=body, key=made.admin_key)
    assert answer.status == 422
    assert len(api.keys().json["keys"]) == before


def test_workspaces_are_apart(api, trove):
    other = trove.server.keys.create_workspace("other", workspace_id="ws-chosen")
    assert other.workspace_id == "ws-chosen"
    api.write("secret", "mine")
    assert api.read("secret", key=other.key).status == 404
    taken = api.snapshot()["snapshot_id"]
    assert api("POST", f"/v1/snapshots/{taken}/restore", key=other.key).status == 404
    answer = api("GET", "/v1/workspaces/ws-chosen/events", key=other.admin_key, namespace=None)
    assert [e["type"] for e in answer.json["events"]] == ["workspace.created"]
    assert api("GET", "/v1/workspaces/ws-chosen/events", namespace=None).status == 403
    with pytest.raises(Conflict):
        trove.server.keys.create_workspace("again", workspace_id="ws-chosen")
    with pytest.raises(Unprocessable):
        trove.server.keys.create_workspace("x", workspace_id="chosen")


def test_sign_up_is_closed_unless_a_setting_opens_it(api, tmp_path):
    assert api("POST", "/v1/workspaces", body={"name": "x"}, key="none").status == 403


def test_secrets_are_stored_as_hashes_only(api, trove):
    made = api.keys("POST", name="secret").json
    trove.close()
    for file in trove.folder.rglob("*"):
        if file.is_file() and file.name != "credentials.json":
            assert made["api_key"].encode() not in file.read_bytes(), file


def test_events_of_keys(api):
    made = api.keys("POST", name="k", namespace="n").json
    api.keys("DELETE", made["key_id"])
    told = [
        (e["type"], e["namespace"], e["data"])
        for e in api.events(types="key.created,key.revoked")["events"][:2]
    ]
    assert told == [
        ("key.revoked", None, {"key_id": made["key_id"], "name": "k"}),
        (
            "key.created",
            None,
            {"key_id": made["key_id"], "name": "k", "scope": "workspace", "namespace": "n"},
        ),
    ]
