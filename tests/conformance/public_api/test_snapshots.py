"""Snapshots through the SDK: wire 3.8."""

import re

import pytest
from trove_sdk.exceptions import TroveError, TroveNotFoundError
from trove_sdk.models import Snapshot


def test_take_list_restore_delete(client):
    client.write("a.txt", "one")
    client.write("d/b.txt", "two")
    taken = client.create_snapshot("before the change")
    assert re.fullmatch(r"snap-[0-9a-f]{16}", taken.snapshot_id)
    assert taken == Snapshot(taken.snapshot_id, "main", "before the change", 6, taken.created_at)
    client.write("a.txt", "broken")
    client.delete("d")
    client.write("later.txt", "x")
    second = client.create_snapshot()
    assert client.list_snapshots() == [second, taken]
    assert second.label is None
    assert client.restore_snapshot(taken.snapshot_id) == 2
    assert [entry.path for entry in client.list_dir(recursive=True)] == [
        "workspace/d",
        "workspace/d/b.txt",
        "workspace/a.txt",
    ]
    assert client.read_text("a.txt") == "one"
    assert client.restore_snapshot(second.snapshot_id) == 2
    assert client.read_text("a.txt") == "broken"
    assert client.read_text("later.txt") == "x"
    assert client.delete_snapshot(taken.snapshot_id) is None
    assert client.list_snapshots() == [second]
    for call in (client.delete_snapshot, client.restore_snapshot):
        with pytest.raises(TroveNotFoundError):
            call(taken.snapshot_id)
    assert client.read_text("a.txt") == "broken"


def test_a_namespace_never_used(client):
    assert client.list_snapshots() == []
    taken = client.create_snapshot()
    assert taken.size_bytes == 0
    client.write("f", "x")
    assert client.restore_snapshot(taken.snapshot_id) == 0
    assert client.list_dir() == []


def test_what_a_snapshot_holds_outlives_the_files(client):
    data = bytes(range(256)) * 5000
    client.upload("big.bin", data)
    client.write(".trove/init.sh", "true")
    taken = client.create_snapshot()
    client.delete("big.bin")
    client.delete(".trove")
    assert client.restore_snapshot(taken.snapshot_id) == 2
    assert client.read_bytes("big.bin") == data
    assert client.get_init() == "true"


def test_labels(client):
    assert client.create_snapshot("ü" * 128).label == "ü" * 128
    with pytest.raises(TroveError) as caught:
        client.create_snapshot("x" * 129)
    assert caught.value.status_code == 422


def test_another_namespaces_snapshot_is_unknown_and_changes_nothing(colour, workspace):
    """Wire 11.13: a restore that fails leaves everything as it was."""
    one, two = colour.client(workspace.key, "one"), colour.client(workspace.key, "two")
    one.write("f", "of one")
    taken = one.create_snapshot()
    two.write("f", "of two")
    before = two.list_dir(recursive=True)
    for snapshot_id in (taken.snapshot_id, "snap-0000000000000000", "auto-x", "%20", "x" * 500):
        with pytest.raises(TroveNotFoundError):
            two.restore_snapshot(snapshot_id)
        with pytest.raises(TroveNotFoundError):
            two.delete_snapshot(snapshot_id)
    assert two.list_dir(recursive=True) == before
    assert one.list_snapshots() == [taken]


def test_what_snapshots_do_is_told_in_events(client, workspace):
    client.write("f", "12345")
    taken = client.create_snapshot("l").snapshot_id
    client.restore_snapshot(taken)
    client.delete_snapshot(taken)
    told = [(event["type"], event["data"]) for event in workspace.events(namespace="main")[:3]]
    assert told == [
        ("snapshot.deleted", {"snapshot_id": taken}),
        ("snapshot.restored", {"snapshot_id": taken, "files_restored": 1}),
        ("snapshot.created", {"snapshot_id": taken, "label": "l", "size_bytes": 5}),
    ]
