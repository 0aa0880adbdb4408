"""The end of old events."""

import time

from trove_agents.server.events.upkeep import EventUpkeep
from trove_agents.server.jobs import DAY, Turn


def turn(days, **options):
    return Turn(time.time_ns() + int(days * DAY * 10**9), **options)


def paths(api):
    return [event["data"].get("path") for event in api.events()["events"]]


def test_events_go_when_they_are_old_enough(api, trove):
    upkeep = EventUpkeep(trove.server.database, days=90)
    for number in range(3):
        api.write(f"f{number}")
    before = api.events()["events"]
    assert upkeep.forget(turn(89.9)) is None
    assert api.events()["events"] == before
    upkeep.forget(turn(90.1))
    # The newest stays, so that no later event gets its key
    assert api.events()["events"] == before[:1]
    api.write("later")
    assert paths(api) == ["workspace/later", "workspace/f2"]


def test_a_long_run_stops_and_goes_on(api, trove):
    from trove_agents.server.events import service

    upkeep = EventUpkeep(trove.server.database, days=1)
    trove.server.database.write(
        lambda tx: [
            service.record_automatic(
                tx, workspace="ws-1", namespace=None, kind="x", data={}, now_ns=time.time_ns()
            )
            for _ in range(2500)
        ]
    )
    turns = 1
    while upkeep.forget(turn(2, ends=0)) is not None:
        turns += 1
    assert turns == 4
    assert len(api.events()["events"]) <= 1
