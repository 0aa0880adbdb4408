"""Every endpoint, also one that is still to come: what an attacker would send, in the place of each of its texts."""

import base64
import json
import typing
from itertools import product
from urllib.parse import quote

import msgspec
import pytest

NAMES = [
    *(
        "",
        ".",
        "/",
        "//",
        "..",
        "../x",
        "a/../../x",
        "a//b",
        "..\\x",
        "/etc/passwd",
        "workspace",
        "workspace/../x",
    ),
    *("a\0b", "a\nb", "\x7f", "\x85", "\x9b31m", "\u2028", "\ufeff", "\u202etxt"),
    *("\uff0e\uff0e/x", "\u2024\u2024/x", "..\u2215x", "\uf7c0\uf7ae/x", "\uf7ed\uf7a0\uf780"),
    *(
        "%2e%2e/x",
        "%2e%2e%2fx",
        "%00",
        "%252e",
        "x" * 256,
        "a/" * 2100,
        "x" * 70_000,
        "$(id)",
        "'",
        '"',
        "~",
        "-rf",
    ),
]
PLACES = [
    *("-1", "9" * 19, "9" * 20, "9" * 5000, "1.5", "1e400", "NaN", "\u0661", "true", "null"),
    *("snap-0000000000000000", "snap-'--", "ref-0000000000000000", "ref-\0", "auto-x"),
    *(
        "9999-12-31T23:59:59-23:59",
        "0001-01-01T00:00:00+23:59",
        "2026-W01-1",
        "2026-01-01T00:00:00.123456789Z",
    ),
]
LAST = [
    1,
    -1,
    10**30,
    1.5,
    "x",
    None,
    [],
    [1, 2, "\0"],
    [10**30, -(10**30), "../x"],
    ["1", "", True, "a\0/../b", False],
]


def cursor(data):
    return base64.urlsafe_b64encode(data).decode().rstrip("=")


CURSORS = [
    *(cursor(json.dumps(last).encode()) for last in LAST),
    *map(
        cursor,
        (
            b"[" * 9000,
            b"9" * 5000,
            b"e" + b"9" * 5000,
            b"\xff",
            b'[1,2,"\\ud800"]',
            b'["1","",true,"\\udc2f",false]',
        ),
    ),
]
VALUES = [*NAMES, *PLACES, *CURSORS]
RAW = [
    b"[" * 100_000,
    b'{"a":' * 50_000,
    b"\xff",
    b'{"path":"\\ud800"}',
    b"1e99999",
    b'{"ttl":' + b"9" * 5000 + b"}",
    b"\x1f\x8b\x08\0",
]
HEADERS = [
    *product(("If-Match", "If-None-Match", "If-Range"), ("", "*", '"' * 999, '"\xff"')),
    *product(("Range",), ("bytes=-" + "9" * 30, "bytes=9-1", "bytes=" + "9" * 19 + "-", "bytes=\u00b2-")),
    *product(
        ("X-Trove-Step",),
        ('thread="', 'thread=%"%ff"', 'x="y"', 'thread="a",thread="b"', "\xff", 'run="a\x01"'),
    ),
    *product(
        ("X-Trove-Lease", "X-Trove-Reference", "Idempotency-Key"), ("", "'", "\xff", "x" * 9000, '"\\"')
    ),
]
NOW = "9" * 18
QUERY = {"path": "f", "from": NOW, "to": NOW, "namespace": "mine"}
BODY = {"path": "f", "content": "x", "to": "other"}
""""from" is a path or a state."""


def texts(struct):
    """The names of a struct's fields that may hold text."""
    if struct is None:
        return []
    fields = msgspec.structs.fields(struct)
    return [field.encode_name for field in fields if str in typing.get_args(field.type) or field.type is str]


def calls(route, workspace):
    """Each text of a route in turn as each value, the others as they should be: path, query and body."""
    known = {"workspace_id": workspace, "name": "mine", "path": "f"}
    params = {name: known.get(name, "x") for name in route.parameters}
    query = {name: QUERY[name] for name in texts(route.query) if name in QUERY}
    good = {**BODY, "from": "f"} if "files" in route.path else {**BODY, "from": NOW, "namespace": "mine-x"}
    body = None if route.body is None else {name: good[name] for name in texts(route.body) if name in good}

    def path(**others):
        return "/".join(
            {**params, **others}.get(part.strip("{.}"), part) if part.startswith("{") else part
            for part in route.path.split("/")
        )

    for value in VALUES:
        for name in route.parameters:
            yield path(**{name: quote(value, safe="/")}), query, body, ()
        for name in texts(route.query):
            yield path(), {**query, name: value}, body, ()
        for name in texts(route.body):
            yield path(), query, {**body, name: value}, ()
    for header in HEADERS:
        yield path(), query, body, (header,)
    for raw in RAW if route.body is not None else ():
        yield path(), query, raw, ()


@pytest.fixture
def attacker(api):
    """A key that is locked to one namespace, which has links that lead anywhere."""
    from trove_agents.server import timelines

    trove = api.trove
    api.write("their-file", namespace="their-namespace")
    locked = api.with_key(api.keys("POST", name="attacker", namespace="mine").json["api_key"], None)
    locked.write("f")

    def make(tx):
        space = timelines.namespace(tx, trove.credentials.workspace_id, "mine")
        change = timelines.Change(tx, space, kind="exec", now_ns=trove.server.database.now_ns())
        for name in NAMES:
            if name and "\0" not in name:
                change.put_link(f"l{len(name)}", name.encode()[:4096])
        change.commit()

    trove.server.database.write(make)
    return locked


def test_nothing_that_is_sent_breaks_the_server_or_shows_what_is_not_the_senders(attacker):
    state = str(attacker.trove.folder)
    seen = 0
    # What takes the namespace away or closes it comes last
    for route in sorted(attacker.trove.server.app.routes, key=lambda route: "leases" in route.path):
        if route.access == "open" or (route.method, "exec" in route.path) == ("POST", True):
            continue  # of commands the options are looked at in tests/server/exec
        if "leases" not in route.path:
            attacker.write("f")
        for path, query, body, headers in calls(route, attacker.trove.credentials.workspace_id):
            raw = {"data": body} if isinstance(body, bytes) else {"body": body}
            answer = attacker(route.method, path, query=query, headers=headers, **raw)
            seen += 1
            where = f"{route.method} {path[:200]} {query} {str(body)[:200]} {headers}: {answer.body[:300]!r}"
            assert answer.status < 500, where
            for secret in (state, "their", "Traceback", "site-packages"):
                assert secret.encode() not in answer.body, where
    assert seen > 3000
    for entry in attacker.list(recursive=True).json["entries"]:
        assert ".." not in entry["path"].split("/")
        assert "\0" not in entry["path"]
