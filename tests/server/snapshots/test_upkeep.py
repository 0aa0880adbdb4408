"""Daily snapshots and the end of old ones: wire 3.8. Days are counted from a noon in the future."""

import datetime as dt
import re
import time

import pytest

from trove_agents.server.jobs import DAY, Turn
from trove_agents.server.settings import Settings
from trove_agents.server.snapshots.upkeep import SnapshotUpkeep

NOON = (int(time.time()) // DAY + 1) * DAY + DAY // 2


def turn(days=0.0, place=None, **options):
    return Turn(int((NOON + days * DAY) * 10**9), place, **options)


def date(days):
    return dt.datetime.fromtimestamp(NOON + days * DAY, dt.UTC).strftime("%Y-%m-%d")


@pytest.fixture
def upkeep(trove):
    return SnapshotUpkeep(trove.server.database, manual_days=None)


def listed(api, namespace="main"):
    return api("GET", "/v1/snapshots", namespace=namespace).json["snapshots"]


def test_a_namespace_with_files_gets_one_a_day(api, upkeep):
    api.write("a.txt", "one")
    api("POST", "/v1/exec", body={"command": "true"}, namespace="empty")
    assert upkeep.take_daily(turn()) is None
    (taken,) = listed(api)
    assert re.fullmatch(r"auto-[0-9a-f]{16}", taken["snapshot_id"])
    assert (taken["label"], taken["size_bytes"]) == (f"auto-daily-{date(0)}", 3)
    api.write("b.txt", "more")
    upkeep.take_daily(turn(0.4))  # the same day
    assert listed(api) == [taken]
    assert listed(api, "empty") == []


# days from the first snapshot on -> what happens then; labels afterwards
@pytest.mark.parametrize(
    ("acts", "days"),
    [
        ([(1, None), (2, None)], [0]),  # unchanged
        ([(1, "write"), (2, None), (3, "write")], [0, 1, 3]),
        ([(1, "snapshot"), (2, None)], [0]),  # somebody kept that state already
        ([(1, "delete"), (2, None)], [0]),  # nothing left to keep
        ([(1, "delete"), (2, "write")], [0, 2]),
        ([(1, "write"), (1.2, "write"), (2, None)], [0, 1, 2]),
        ([(400, "write")], [0, 400]),
    ],
)
def test_which_days_have_one(api, upkeep, acts, days):
    api.write("a.txt", "start")
    upkeep.take_daily(turn())
    for number, (day, act) in enumerate(acts):
        if act == "write":
            api.write("a.txt", str(number))
        elif act == "delete":
            api.delete("a.txt")
        elif act == "snapshot":
            api.snapshot()
        upkeep.take_daily(turn(day))
    automatic = [s["label"] for s in listed(api) if s["snapshot_id"].startswith("auto-")]
    assert automatic == [f"auto-daily-{date(day)}" for day in reversed(days)]


def test_a_long_run_stops_and_goes_on(api, upkeep):
    for number in range(250):
        api.write("f", namespace=f"n{number}")
    place, turns = None, 0
    while True:
        place = upkeep.take_daily(turn(place=place, ends=0))
        turns += 1
        if place is None:
            break
    assert turns == 4
    assert all(len(listed(api, f"n{number}")) == 1 for number in range(250))


def test_daily_ones_go_after_thirty_days_and_others_stay(api, upkeep):
    api.write("a.txt")
    upkeep.take_daily(turn())
    (automatic,) = listed(api)
    assert automatic["expires_at"] == automatic["created_at"].replace(
        date(0), date(30)
    )  # the same time of the day
    manual = api.snapshot("mine")
    assert manual["expires_at"] is None
    upkeep.expire(turn(29.9))
    assert len(listed(api)) == 2
    upkeep.expire(turn(30.1))
    assert [s["snapshot_id"] for s in listed(api)] == [manual["snapshot_id"]]
    upkeep.expire(turn(4000))
    assert len(listed(api)) == 1
    assert api.read("a.txt").status == 200


def test_a_setting_ends_those_that_somebody_took(api, trove):
    upkeep = SnapshotUpkeep(trove.server.database, manual_days=7)
    api.write("a.txt")
    upkeep.take_daily(turn())
    for number in range(150):
        api.snapshot(str(number))
    upkeep.expire(turn(5))
    assert len(listed(api)) == 151
    place = upkeep.expire(turn(9, ends=0))
    assert place is not None
    assert upkeep.expire(turn(9, place)) is None
    assert [s["snapshot_id"][:5] for s in listed(api)] == ["auto-"]


def test_the_api_says_when_they_expire(tmp_path):
    from trove_agents.embedded import Trove

    with Trove(Settings(tmp_path, snapshot_days=7)) as trove:
        taken = trove.client("main").create_snapshot()
        created, expires = (dt.datetime.fromisoformat(t) for t in (taken.created_at, taken.expires_at))
        assert expires - created == dt.timedelta(days=7)


def test_events_tell_of_both_and_name_nobody(api, upkeep):
    api.write("a.txt", "one")
    upkeep.take_daily(turn())
    (taken,) = listed(api)
    upkeep.expire(turn(31))
    deleted, created = api.events(types="snapshot.created,snapshot.deleted")["events"]
    assert (created["type"], created["namespace"], created["actor"]) == ("snapshot.created", "main", None)
    assert created["data"] == {
        "snapshot_id": taken["snapshot_id"],
        "label": taken["label"],
        "size_bytes": 3,
    }
    assert (deleted["type"], deleted["namespace"], deleted["actor"]) == ("snapshot.deleted", "main", None)
    assert deleted["data"] == {"snapshot_id": taken["snapshot_id"]}


def test_restoring_a_daily_one_and_deleting_it(api, upkeep):
    api.write("a.txt", "good")
    upkeep.take_daily(turn())
    (taken,) = listed(api)
    api.write("a.txt", "bad")
    assert api("POST", f"/v1/snapshots/{taken['snapshot_id']}/restore").status == 200
    assert api.read("a.txt").json["content"] == "good"
    assert api("DELETE", f"/v1/snapshots/{taken['snapshot_id']}").status == 200
    assert listed(api) == []
