"""The keys of a local state directory, when several openings ask for them at once."""

import threading
import time

import pytest

from trove_agents.embedded import credentials
from trove_agents.server.db import Database
from trove_agents.server.keys.service import KeyService


@pytest.fixture
def database(tmp_path):
    database = Database.open(tmp_path)
    yield database
    database.close()


def test_who_saw_no_workspace_and_comes_second_makes_none(database, tmp_path):
    """Both have looked before either has made one: their transactions wait behind a third."""
    keys = KeyService(database)
    inside, leave = threading.Event(), threading.Event()
    found = []

    def hold(tx):
        inside.set()
        leave.wait(20)

    holder = threading.Thread(target=database.write, args=(hold,))
    holder.start()
    inside.wait(20)
    threads = [
        threading.Thread(target=lambda: found.append(credentials.local(tmp_path, keys))) for _ in range(3)
    ]
    [thread.start() for thread in threads]
    while len(database._commits._pending) < 3:
        time.sleep(0.001)
    leave.set()
    [thread.join() for thread in [holder, *threads]]
    assert len(keys.workspaces()) == 1
    assert {made.workspace_id for made in found} == set(keys.workspaces())
    assert all(keys.knows(made.key) and keys.knows(made.admin_key) for made in found)


@pytest.mark.parametrize("content", [b"", b"{}", b"[1", b'{"workspace_id": "\xff"}', b"\xff\xfe", b"null"])
def test_a_file_that_cannot_be_read_is_replaced(database, tmp_path, content):
    keys = KeyService(database)
    first = credentials.local(tmp_path, keys)
    (tmp_path / "credentials.json").write_bytes(content)
    again = credentials.local(tmp_path, keys)
    assert again.workspace_id == first.workspace_id
    assert keys.knows(again.key)
    assert credentials.local(tmp_path, keys) == again
