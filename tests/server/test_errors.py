"""What callers are told, and that a failing disk or database is told as what it is."""

import errno
import json
import logging
import sqlite3

import pytest

from trove_agents import TroveServerError
from trove_agents.server import errors
from trove_agents.server.db import CommitFailed
from trove_agents.server.db.commit import Closed
from trove_agents.server.errors import ServiceError


def kinds(base=ServiceError):
    for kind in base.__subclasses__():
        yield kind
        yield from kinds(kind)


def test_every_error_has_a_code_of_its_own_and_a_status():
    own = [kind for kind in kinds() if isinstance(vars(kind).get("code"), str)]
    assert len({kind.code for kind in own}) == len(own)
    assert all(400 <= errors.status(kind.__new__(kind)) <= 599 for kind in own)
    assert set(errors.STATUS) <= set(own)


def of_sqlite(code, message="from SQLite"):
    error = sqlite3.OperationalError(message)
    error.sqlite_errorcode = code
    return error


def lost(cause):
    error = CommitFailed(f"the transaction was lost: {cause}")
    error.__cause__ = cause
    return error


@pytest.mark.parametrize(
    ("failure", "status", "code"),
    [
        (Closed("the database was closed"), 503, "unavailable"),
        (lost(of_sqlite(sqlite3.SQLITE_FULL)), 507, "storage-full"),
        (of_sqlite(sqlite3.SQLITE_FULL), 507, "storage-full"),
        (OSError(errno.ENOSPC, "No space left on device", "/srv/secret/blobs/1"), 507, "storage-full"),
        (OSError(errno.EDQUOT, "Disk quota exceeded"), 507, "storage-full"),
        (lost(OSError(errno.ENOSPC, "No space left on device")), 507, "storage-full"),
        (lost(of_sqlite(sqlite3.SQLITE_BUSY)), 503, "unavailable"),
        (lost(of_sqlite(sqlite3.SQLITE_IOERR | 4 << 8)), 500, "storage-failed"),
        (lost(RuntimeError("the database ended the transaction")), 500, "storage-failed"),
        (of_sqlite(sqlite3.SQLITE_CANTOPEN), 500, "storage-failed"),
        (sqlite3.IntegrityError("UNIQUE constraint failed"), 500, "internal"),
        (OSError(errno.EACCES, "Permission denied", "/srv/secret"), 500, "internal"),
    ],
)
def test_failures_of_the_storage_are_told_without_their_details(api, caplog, failure, status, code):
    api.write("f", "old")
    with caplog.at_level(logging.CRITICAL), broken(api.trove.server.database, failure):
        answer = api("POST", "/write", body={"path": "f", "content": "new"})
    assert (answer.status, answer.json["code"]) == (status, code)
    assert ("retry-after" in answer.headers) == (status == 503)
    assert not any(word in answer.body.decode() for word in ("secret", "SQLite", "Errno", "device"))
    if code in {"unavailable", "storage-full"}:
        assert "nothing was kept" in answer.json["detail"]
    assert api.read("f").json["content"] == "old"


class broken:
    """A database whose transactions fail, for a while."""

    def __init__(self, database, failure):
        self.database = database
        self.failure = failure

    def __enter__(self):
        def write(function):
            raise self.failure

        self.database.write = write

    def __exit__(self, *_):
        del self.database.write


@pytest.mark.parametrize("place", ["sqlite"], indirect=True)
def test_a_database_without_room_is_507_and_works_again_once_there_is_some(api, trove):
    """SQLite's own failure, not a stand-in for it."""
    api.write("f", "old")
    pages = "PRAGMA max_page_count={}".format
    trove.server.database.write(lambda tx: tx._raw.execute(pages(1)).fetchone())
    answer = api("POST", "/write", body={"path": "f", "content": "x" * 16_000})
    for number in range(200):
        if answer.status != 200:
            break
        answer = api("POST", "/write", body={"path": f"f{number}", "content": "x" * 16_000})
    assert (answer.status, answer.json["code"]) == (507, "storage-full")
    with pytest.raises(TroveServerError, match="no room left") as caught:
        trove.client("main").write("g", "y" * 16_000)
    assert (caught.value.status_code, caught.value.code, caught.value.recovery) == (
        507,
        "storage-full",
        "operator",
    )
    assert len(api.list().json["entries"]) >= 1
    trove.server.database.write(lambda tx: tx._raw.execute(pages(2**31)).fetchone())
    assert api.write("f", "new")["size_bytes"] == 3


def test_a_call_that_meets_a_closing_server_is_told_so(api, trove):
    trove.server.database.close()
    answer = api("POST", "/write", body={"path": "f", "content": "x"})
    assert (answer.status, json.loads(answer.body)["code"]) == (503, "unavailable")
