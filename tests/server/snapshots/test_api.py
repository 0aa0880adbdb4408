"""Snapshots over the API: wire 3.8."""

import re

import pytest


def test_take_break_restore(api):
    api.write("a.txt", "one")
    api.write("d/b.txt", "two")
    taken = api.snapshot("before")
    assert re.fullmatch(r"snap-[0-9a-f]{16}", taken["snapshot_id"])
    assert (taken["namespace"], taken["label"], taken["size_bytes"]) == ("main", "before", 6)
    api.write("a.txt", "broken")
    api.delete("d")
    api.write("new.txt", "later")
    answer = api("POST", f"/v1/snapshots/{taken['snapshot_id']}/restore")
    assert (answer.status, answer.json) == (200, {"snapshot_id": taken["snapshot_id"], "files_restored": 2})
    assert api.read("a.txt").json["content"] == "one"
    assert api.read("d/b.txt").json["content"] == "two"
    assert api.read("new.txt").status == 404


def test_restore_of_a_restore_and_a_snapshot_in_between(api):
    ids = []
    for round_ in range(5):
        api.write("f", str(round_))
        ids.append(api.snapshot()["snapshot_id"])
    for round_ in (0, 4, 2, 1, 3):
        api("POST", f"/v1/snapshots/{ids[round_]}/restore")
        assert api.read("f").json["content"] == str(round_)
        ids.append(api.snapshot()["snapshot_id"])


def test_times_come_back_with_a_restore(api):
    api.write("f", "x")
    modified = api.read("f").json["modified_at"]
    taken = api.snapshot()
    api.write("f", "y")
    api("POST", f"/v1/snapshots/{taken['snapshot_id']}/restore")
    assert api.read("f").json["modified_at"] == modified


def test_list_and_delete(api):
    made = [api.snapshot(str(number))["snapshot_id"] for number in range(3)]
    api.snapshot(namespace="other")
    listed = api("GET", "/v1/snapshots").json["snapshots"]
    assert [s["snapshot_id"] for s in listed] == made[::-1]
    assert [s["label"] for s in listed] == ["2", "1", "0"]
    one = f"/v1/snapshots/{made[1]}"
    assert api("DELETE", one).json == {"snapshot_id": made[1], "deleted": True}
    assert api("DELETE", one).status == 404
    assert api("POST", one + "/restore").status == 404
    assert len(api("GET", "/v1/snapshots").json["snapshots"]) == 2


def test_at_most_two_hundred_are_listed(api):
    made = [api.snapshot()["snapshot_id"] for _ in range(203)]
    listed = [s["snapshot_id"] for s in api("GET", "/v1/snapshots").json["snapshots"]]
    assert listed == made[:2:-1]


def test_another_namespaces_snapshot_is_not_found(api):
    taken = api.snapshot(namespace="one")["snapshot_id"]
    api.write("kept", namespace="two")
    assert api("POST", f"/v1/snapshots/{taken}/restore", namespace="two").status == 404
    assert api("DELETE", f"/v1/snapshots/{taken}", namespace="two").status == 404
    assert api("POST", f"/v1/snapshots/{taken}/restore", namespace="three").status == 404
    assert api.read("kept", namespace="two").status == 200


def test_a_namespace_never_used_can_be_snapshotted(api):
    taken = api.snapshot(namespace="fresh")
    assert taken["size_bytes"] == 0
    api.write("f", namespace="fresh")
    assert (
        api("POST", f"/v1/snapshots/{taken['snapshot_id']}/restore", namespace="fresh").json["files_restored"]
        == 0
    )
    assert api.list(namespace="fresh").json["entries"] == []


@pytest.mark.parametrize("body", [b"", b"{}", b'{"label": null}'])
def test_a_label_is_optional(api, body):
    assert api("POST", "/v1/snapshots", data=body).json["label"] is None


def test_labels_have_a_limit(api):
    assert api.snapshot("é" * 128)["label"] == "é" * 128
    answer = api("POST", "/v1/snapshots", body={"label": "x" * 129})
    assert answer.status == 422
    assert answer.json["errors"][0]["field"] == "label"


def test_each_act_is_an_event(api):
    api.write("f", "12345")
    taken = api.snapshot("l")["snapshot_id"]
    api("POST", f"/v1/snapshots/{taken}/restore")
    api("DELETE", f"/v1/snapshots/{taken}")
    told = [
        (e["type"], e["data"])
        for e in api.events(types="snapshot.created,snapshot.restored,snapshot.deleted")["events"]
    ]
    assert told == [
        ("snapshot.deleted", {"snapshot_id": taken}),
        ("snapshot.restored", {"snapshot_id": taken, "files_restored": 1}),
        ("snapshot.created", {"snapshot_id": taken, "label": "l", "size_bytes": 5}),
    ]
