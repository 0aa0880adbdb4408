"""The events listing: wire 3.11 and 4."""

import threading
from datetime import UTC, datetime, timedelta, timezone

import pytest


def drain(api, **query):
    found, cursor = [], None
    while True:
        page = api.events(**query, **({"cursor": cursor} if cursor else {}))
        found += page["events"]
        cursor = page["next_cursor"]
        if cursor is None:
            return found


def test_envelope(api):
    api.write("f", "x")
    event = api.events()["events"][0]
    assert event["id"] == event["event_id"] and event["id"].startswith("evt-")
    assert set(event) == {
        "id",
        "event_id",
        "type",
        "api_version",
        "workspace_id",
        "created_at",
        "namespace",
        "actor",
        "data",
    }
    assert event["workspace_id"] == api.trove.credentials.workspace_id
    assert len(event["created_at"]) == len("2026-05-07T20:00:00.000000Z")


def test_newest_first_in_pages_that_stay_put_while_new_events_arrive(api):
    for number in range(25):
        api.write(f"f{number}")
    first = api.events(limit=10, types="file.written")
    api.write("late")
    second = api.events(limit=10, types="file.written", cursor=first["next_cursor"])
    third = api.events(limit=10, types="file.written", cursor=second["next_cursor"])
    paths = [e["data"]["path"] for page in (first, second, third) for e in page["events"]]
    assert paths == [f"workspace/f{number}" for number in range(24, -1, -1)]
    assert third["next_cursor"] is None


def test_a_page_is_at_most_two_hundred(api):
    for number in range(203):
        api.write("f", str(number))
    page = api.events(limit=5000)
    assert len(page["events"]) == 200
    assert len({e["id"] for e in drain(api)}) == len(drain(api, limit=7))


def test_since_is_exclusive_and_nothing_is_seen_twice(api):
    """Wire 11.2: what ``trove tail`` does, with 500 events by several writers between its polls."""
    mark = api.events()["events"][0]["created_at"]
    seen = []

    def write(worker):
        for number in range(25):
            api.write(f"{worker}", str(number))

    for _ in range(5):
        workers = [threading.Thread(target=write, args=(worker,)) for worker in range(4)]
        for worker in workers:
            worker.start()
        for worker in workers:
            worker.join()
        page = api.events(since=mark, limit=200)["events"]
        seen += [e["id"] for e in page]
        mark = page[0]["created_at"]
        assert api.events(since=mark)["events"] == []
    assert len(seen) == len(set(seen)) == 500


def test_times_strictly_increase_even_when_the_clock_goes_back(api, trove):
    api.write("a")
    database = trove.server.database
    honest = database.now_ns
    object.__setattr__(database, "now_ns", lambda: honest() - 3600 * 10**9)
    api.write("b")
    api.write("c")
    times = [e["created_at"] for e in api.events(types="file.written")["events"]]
    assert times == sorted(times, reverse=True)
    assert len(set(times)) == 3
    assert [e["data"]["path"] for e in api.events(types="file.written")["events"]] == [
        "workspace/c",
        "workspace/b",
        "workspace/a",
    ]


@pytest.mark.parametrize("offset", [timedelta(0), timedelta(hours=5, minutes=30), timedelta(hours=-8)])
def test_since_takes_any_offset_and_a_plus_that_became_a_space(api, offset):
    api.write("before")
    mark = datetime.now(UTC) + timedelta(microseconds=1)
    api.write("after")
    text = mark.astimezone(timezone(offset)).isoformat()
    for form in (text, text.replace("+", " ")):
        assert [e["data"]["path"] for e in api.events(since=form, types="file.written")["events"]] == [
            "workspace/after"
        ]


def test_filters(api):
    api.write("f", namespace="one")
    api.write("g", namespace="two")
    api.snapshot(namespace="two")
    assert {e["namespace"] for e in api.events(namespace="two")["events"]} == {"two"}
    assert [e["type"] for e in api.events(types=" snapshot.created , nonsense")["events"]] == [
        "snapshot.created"
    ]
    assert api.events(types="file")["events"] == []
    assert api.events(types="%")["events"] == []
    assert len(api.events(types="")["events"]) == len(api.events()["events"])
    assert api.events(namespace="never")["events"] == []


def test_a_locked_key_sees_its_own_namespace_only(api):
    api.write("f", namespace="mine")
    api.write("g", namespace="other")
    key = api.keys("POST", name="l", namespace="mine").json["api_key"]
    path = f"/v1/workspaces/{api.trove.credentials.workspace_id}/events"
    assert {e["namespace"] for e in api("GET", path, key=key, namespace=None).json["events"]} == {"mine"}
    assert api("GET", path, key=key, query={"namespace": "mine"}, namespace=None).status == 200
    assert api("GET", path, key=key, query={"namespace": "other"}, namespace=None).status == 403


@pytest.mark.parametrize(
    ("query", "status"),
    [
        ({"cursor": "nonsense"}, 400),
        ({"cursor": ""}, 400),
        ({"cursor": "ZTEw!"}, 400),
        ({"cursor": "x" * 5000}, 400),
        ({"since": "yesterday"}, 422),
        ({"since": "99999-01-01"}, 422),
        ({"limit": "0"}, 422),
        ({"limit": "-1"}, 422),
        ({"limit": "x"}, 422),
    ],
)
def test_bad_filters(api, query, status):
    path = f"/v1/workspaces/{api.trove.credentials.workspace_id}/events"
    assert api("GET", path, query=query, namespace=None).status == status
