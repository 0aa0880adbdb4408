"""A process that dies between any two of its steps towards the disk: pieces of a blob, its fsync, its rename, its row.

Each time the file is the old one or the new one, whole; what was left on the way is swept. With ``TROVE_SOAK``
also before each step of a command, of which otherwise every third is taken.
"""

import itertools
import subprocess
import sys
from collections import Counter
from pathlib import Path

import pytest
from blake3 import blake3
from sqlalchemy import select

from trove_agents.embedded import Trove
from trove_agents.server.db import tables
from trove_agents.server.settings import Settings

from ..server.conftest import Api

OLD = {"d/a": b"old", "f": b"old" * 10_000}
NEW = b"new " * 700_000


@pytest.fixture
def dying():
    with subprocess.Popen(
        [sys.executable, Path(__file__).with_name("dying.py")],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as process:

        def at(folder, act, step):
            process.stdin.write(f"{folder} {act} {step}\n")
            process.stdin.flush()
            return process.stdout.readline().strip()

        yield at
        process.stdin.close()


def files(api):
    listing = api.list(recursive=True).json["entries"]
    paths = [entry["path"].removeprefix("workspace/") for entry in listing if not entry["is_dir"]]
    return {path: api.get(path).body for path in paths}


@pytest.mark.parametrize("act", ["upload", "exec"])
def test_dead_before_each_step(dying, tmp_path, act, rounds):
    died, seen = Counter(), set()
    after = {"f": NEW, **({"d/a": b"old"} if act == "upload" else {})}
    folder = tmp_path / "state"
    with Trove(Settings(folder, sandbox="none")) as trove:
        api = Api(trove)
        trove.credentials
    for step in itertools.count(step=1 if act == "upload" or rounds(0) else 3):
        with Trove(Settings(folder, sandbox="none")) as trove:
            api = Api(trove)
            for path, data in OLD.items():
                assert api.put(path, data).status == 200
            # The blob of the last round would be used again
            owner = trove.credentials.workspace_id
            for stored in list(trove.server.blobs.list(owner)):
                if stored.size == len(NEW):
                    trove.server.blobs.delete(owner, stored.digest, unused_since=float("inf"))
        where = dying(folder, act, step)
        assert where, "the child failed by itself"
        died[where] += 1
        with Trove(Settings(folder, sandbox="none")) as trove:
            api = Api(trove)
            there = files(api)
            assert there in ([after] if where == "done" else [OLD, after]), (where, step)
            seen.add(there == after)
            for stored in trove.server.blobs.list(trove.credentials.workspace_id):
                data = b"".join(trove.server.blobs.stream(trove.credentials.workspace_id, stored.digest))
                assert (len(data), blake3(data).digest()) == (stored.size, stored.digest), (where, step)
            with trove.server.database.read() as db:
                kinds = [kind for (kind,) in db.all(select(tables.log.c.kind).order_by(tables.log.c.version))]
            assert (kinds[-1] == act) == (there == after) or act == "upload"
            trove.server.blobs._objects.sweep(older_than_seconds=-1)
            assert list((folder / "blobs" / "incoming").iterdir()) == []
            assert api("POST", "/v1/exec", body={"command": "true"}).status == 200
        if where == "done":
            break
    print(act, dict(died))
    assert seen == {False, True}
    if act == "upload":
        assert all(died[step] for step in ("write", "fsync", "rename", "execute"))
