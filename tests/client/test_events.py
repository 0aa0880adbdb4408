from datetime import UTC, datetime, timedelta, timezone
from itertools import islice
from urllib.parse import parse_qs

import msgspec
import pytest

from trove_agents import Actor, TroveAuthError

from .conftest import Colour, reply


def event(number: int) -> dict[str, object]:
    return {
        "id": f"evt-{number}",
        "event_id": f"evt-{number}",
        "type": "file.written",
        "api_version": "2026-04-30",
        "workspace_id": "ws-1",
        "namespace": "ns",
        "created_at": f"2026-05-07T20:00:00.{number:06}Z",
        "actor": {"key_id": "key-1", "key_name": "ci"},
        "data": {"path": "workspace/a", "size_bytes": 1, "source": "write"},
    }


class Server:
    """Pages of a list of events, newest first."""

    def __init__(self, count: int) -> None:
        self.events = [event(number) for number in reversed(range(count))]
        self.queries: list[dict[str, list[str]]] = []

    def __call__(self, request):
        assert request.path == "/v1/workspaces/ws-1/events"
        query = parse_qs(request.query)
        self.queries.append(query)
        start = int(query.get("cursor", ["0"])[0])
        end = start + int(query["limit"][0])
        more = str(end) if end < len(self.events) else None
        return reply(200, msgspec.json.encode({"events": self.events[start:end], "next_cursor": more}))


@pytest.mark.parametrize(
    ("count", "limit", "pages"),
    [
        (0, None, ["200"]),
        (3, None, ["200"]),
        (450, None, ["200", "200", "200"]),
        (450, 450, ["200", "200", "50"]),
        (450, 250, ["200", "50"]),
        (450, 5, ["5"]),
        (3, 5, ["5"]),
        (3, 0, []),
        (3, -1, []),
    ],
)
def test_pages_are_followed_up_to_the_limit(
    colour: Colour, count: int, limit: int | None, pages: list[str]
) -> None:
    server = Server(count)
    got = colour.call(colour.admin(colour.transport(server)), "list_events", limit=limit)
    wanted = server.events if limit is None else server.events[: max(limit, 0)]
    assert [each.id for each in got] == [each["id"] for each in wanted]
    assert [query["limit"][0] for query in server.queries] == pages


def test_a_server_that_sends_more_than_asked_is_cut(colour: Colour) -> None:
    page = reply(200, msgspec.json.encode({"events": [event(2), event(1), event(0)], "next_cursor": "x"}))
    got = colour.call(colour.admin(colour.transport(lambda _: page)), "list_events", limit=2)
    assert [each.id for each in got] == ["evt-2", "evt-1"]


def test_events_carry_the_whole_envelope(colour: Colour) -> None:
    (got,) = colour.call(colour.admin(colour.transport(Server(1))), "list_events")
    assert (got.id, got.event_id, got.type, got.namespace) == ("evt-0", "evt-0", "file.written", "ns")
    assert got.actor == Actor("key-1", "ci")
    assert got.data == {"path": "workspace/a", "size_bytes": 1, "source": "write"}


def test_filters_are_sent_with_every_page(colour: Colour) -> None:
    server = Server(250)
    colour.call(
        colour.admin(colour.transport(server)),
        "list_events",
        namespace="ns",
        types=["file.written", "exec.completed"],
        since="2026-05-07T20:00:00+00:00",
    )
    shared = {
        "limit": ["200"],
        "namespace": ["ns"],
        "types": ["file.written,exec.completed"],
        "since": ["2026-05-07T20:00:00+00:00"],
    }
    assert server.queries == [shared, shared | {"cursor": ["200"]}]


@pytest.mark.parametrize(
    ("since", "sent"),
    [
        (datetime(2026, 5, 7, 20), "2026-05-07T20:00:00+00:00"),
        (datetime(2026, 5, 7, 20, tzinfo=UTC), "2026-05-07T20:00:00+00:00"),
        (datetime(2026, 5, 7, 20, 0, 0, 5, timezone(timedelta(hours=2))), "2026-05-07T20:00:00.000005+02:00"),
    ],
)
def test_moments_say_their_offset(colour: Colour, since: datetime, sent: str) -> None:
    server = Server(0)
    colour.call(colour.admin(colour.transport(server)), "list_events", since=since, types="file.written")
    assert (server.queries[0]["since"], server.queries[0]["types"]) == ([sent], ["file.written"])


def test_pages_are_read_only_as_far_as_they_are_asked_for() -> None:
    colour, server = Colour("sync"), Server(1000)
    events = colour.admin(colour.transport(server)).list_events()
    assert server.queries == []
    assert len(list(islice(events, 201))) == 201
    assert len(server.queries) == 2


def test_a_refusal_is_raised(colour: Colour) -> None:
    with pytest.raises(TroveAuthError, match="other workspace"):
        colour.call(
            colour.admin(colour.transport(lambda _: reply(403, b'{"detail": "other workspace"}'))),
            "list_events",
        )
