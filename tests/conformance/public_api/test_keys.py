"""Keys and scopes through the SDK's admin clients: wire 1.3, 2, 3.12, 11.8."""

import pytest
from trove_sdk.exceptions import TroveAuthError, TroveError, TroveNotFoundError

RUNTIME = {
    "exec": lambda c: c.exec_detailed("true"),
    "exec_chain": lambda c: c.exec_chain(["true", "true"]),
    "write": lambda c: c.write("f", "x"),
    "upload": lambda c: c.upload("f", b"x"),
    "delete": lambda c: c.delete("f"),
    "list_dir": lambda c: c.list_dir(),
    "read_file": lambda c: c.read_file("f"),
    "read_bytes": lambda c: c.read_bytes("f"),
    "create_snapshot": lambda c: c.create_snapshot(),
    "list_snapshots": lambda c: c.list_snapshots(),
    "restore_snapshot": lambda c: c.restore_snapshot("snap-0"),
    "delete_snapshot": lambda c: c.delete_snapshot("snap-0"),
    "bootstrap": lambda c: c.bootstrap(),
}


def refused(call, client, status):
    with pytest.raises(TroveAuthError) as caught:
        call(client)
    assert caught.value.status_code == status
    return str(caught.value)


def test_create_list_revoke(admin, colour, workspace):
    locked = admin.create_key("customer", namespace="acme")
    assert (locked.name, locked.scope, locked.namespace) == ("customer", "workspace", "acme")
    assert locked.api_key.startswith(locked.prefix)
    assert locked.key_id.startswith("key-")
    open_key = admin.create_key("internal")
    assert open_key.namespace is None
    listed = {key.key_id: key for key in admin.list_keys()}
    assert {key.scope for key in listed.values()} == {"workspace", "admin"}
    made = vars(locked).copy()
    made.pop("api_key")
    assert vars(listed[locked.key_id]) == made
    files = colour.client(locked.api_key, "acme")
    files.write("f", "x")
    assert admin.revoke_key(locked.key_id) is None
    refused(RUNTIME["list_dir"], files, 401)
    assert locked.key_id not in {key.key_id for key in admin.list_keys()}
    for key_id in (locked.key_id, "key-unknown"):
        with pytest.raises(TroveNotFoundError):
            admin.revoke_key(key_id)
    told = [
        (event["type"], event["data"]["key_id"])
        for event in workspace.events(types="key.created,key.revoked")[:3]
    ]
    assert told == [
        ("key.revoked", locked.key_id),
        ("key.created", open_key.key_id),
        ("key.created", locked.key_id),
    ]


def test_the_workspace_is_found_from_the_key(colour, workspace):
    found = colour.admin_from_api_key(workspace.admin_key)
    made = found.create_key("k")
    assert made.key_id in {key.key_id for key in found.list_keys()}
    with pytest.raises(TroveAuthError):
        colour.admin_from_api_key("trove-sk-unknown")


def test_who_may_manage(colour, workspace, new_workspace):
    locked = (
        colour.admin(workspace.admin_key, workspace.workspace_id).create_key("l", namespace="mine").api_key
    )
    plain = colour.admin(workspace.key, workspace.workspace_id)
    assert plain.list_keys()
    for key, calls in {
        workspace.key: ("create", "revoke"),
        locked: ("list", "create", "revoke"),
        new_workspace().admin_key: ("list", "create", "revoke"),
    }.items():
        client = colour.admin(key, workspace.workspace_id)
        all_calls = {
            "list": lambda c: c.list_keys(),
            "create": lambda c: c.create_key("x"),
            "revoke": lambda c: c.revoke_key("key-x"),
        }
        for name in calls:
            refused(all_calls[name], client, 403)


def test_scopes_on_every_runtime_call(colour, workspace):
    """Wire 11.8."""
    admin = colour.admin(workspace.admin_key, workspace.workspace_id)
    made = admin.create_key("l", namespace="mine")
    own, other = (colour.client(made.api_key, namespace) for namespace in ("mine", "other"))
    with_admin_key = colour.client(workspace.admin_key, "mine")
    with_no_key = colour.client("trove-sk-" + "0" * 40, "mine")
    own.list_dir()
    for call in RUNTIME.values():
        said = refused(call, other, 403)
        assert "mine" in said and "other" not in said
        refused(call, with_admin_key, 403)
        refused(call, with_no_key, 401)
    admin.revoke_key(made.key_id)
    for call in RUNTIME.values():
        refused(call, own, 401)
    assert [event for event in workspace.events() if event["namespace"]] == []


@pytest.mark.parametrize("namespace", ["", "bad name", "a/b", "..", "x" * 129, "a.b", "é"])
def test_names_that_are_no_namespace(colour, workspace, namespace):
    """400 and nothing made; httpx itself refuses what cannot be a header."""
    try:
        client = colour.client(workspace.key, namespace)
    except UnicodeEncodeError:
        return
    for call in ("write", "list_dir", "create_snapshot", "exec"):
        with pytest.raises(TroveError) as caught:
            RUNTIME[call](client)
        assert (type(caught.value), caught.value.status_code) == (TroveError, 400)


@pytest.mark.parametrize("namespace", ["a", "A-Z_0", "x" * 128, "-", "_"])
def test_names_that_are(colour, workspace, namespace):
    colour.client(workspace.key, namespace).write("f", "x")
    assert workspace.events(namespace=namespace)[0]["namespace"] == namespace


def test_malformed_keys(admin):
    for name, namespace in (("", None), ("x" * 300, None), ("x", "bad name"), ("x", "")):
        with pytest.raises(TroveError) as caught:
            admin.create_key(name, namespace=namespace)
        assert caught.value.status_code == 422
