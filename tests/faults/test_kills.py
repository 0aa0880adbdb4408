"""Servers killed under load, again and again: what was answered is there, and of what was not all or nothing.

Two servers serve one state directory. In each round one of them is killed while callers of both are at work: the
other goes on, and what the dead one's callers had is checked through it. Then it is killed as well.

``TROVE_SOAK=200`` kills 200 times, from another seed each time.
"""

import random
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from blake3 import blake3
from sqlalchemy import select, text

from trove_agents.server import timelines
from trove_agents.server.blobs import BlobStore
from trove_agents.server.db import Database, tables
from trove_agents.server.jobs import DAY, Turn
from trove_agents.server.timelines import Collection, Kind

from .callers import Caller

CALLERS = 8


def sound(folder):
    """What no caller sees: the database is whole, every content has its bytes, every total is right."""
    database, blobs = Database.open(folder), BlobStore.local(folder / "blobs")
    try:
        with database.read() as db:
            assert db.all(text("PRAGMA integrity_check")) == [("ok",)]
            known = {key for (key,) in db.all(select(tables.contents.c.id))}
            used = select(tables.entries.c.content).where(tables.entries.c.content.is_not(None)).distinct()
            assert {key for (key,) in db.all(used)} <= known
            for workspace, digest, size in db.all(
                select(tables.blobs.c.workspace, tables.blobs.c.digest, tables.blobs.c.size)
            ):
                data = b"".join(blobs.stream(workspace, digest))
                assert (len(data), blake3(data).digest()) == (size, digest)
            spaces = db.all(select(tables.namespaces.c.id))
            for (key,) in spaces:
                head = timelines.head(db, key)
                entries = [each for each in timelines.walk(db, head.at) if each.kind is not Kind.DIRECTORY]
                assert head.files == len(entries)
                assert head.bytes == sum(each.size for each in entries if each.kind is Kind.FILE)
                [last] = timelines.log_rows(db, key, before=head.at.version + 1, limit=1)
                assert (last.version, last.files, last.bytes) == (head.at.version, head.files, head.bytes)
    finally:
        database.close()


def swept(folder):
    """After the grace period nothing is left of what was under way at a kill."""
    database, blobs = Database.open(folder), BlobStore.local(folder / "blobs")
    try:
        blobs._objects.sweep(older_than_seconds=-1)
        assert list((folder / "blobs" / "incoming").iterdir()) == []
        collection, turn = Collection(database, blobs), Turn(time.time_ns() + 2 * DAY * 10**9)
        for job in (collection.sweep_contents, collection.sweep_blobs, collection.sweep_objects):
            assert job(turn) is None
        with database.read() as db:
            [(workspace,)] = db.all(select(tables.workspaces.c.id))
            referred = {digest for (digest,) in db.all(select(tables.content_parts.c.digest))}
        assert {stored.digest for stored in blobs.list(workspace)} == referred
    finally:
        database.close()


def test_killed_again_and_again(stem, tmp_path, rounds, isolates, capsys):
    kills, seed = rounds(24), random.randrange(2**32) if rounds(0) else 20
    folder: Path = tmp_path / "state"
    callers = [
        Caller(number, seed + number, commands=isolates and number % 2 == 0) for number in range(CALLERS - 3)
    ]
    callers += [
        Caller(number, seed + number, namespace="shared", commands=isolates and number == CALLERS - 1)
        for number in range(CALLERS - 3, CALLERS)
    ]
    print("seed", seed)
    chance, dead, due, under_way, began = random.Random(seed), 0, 20, {}, time.monotonic()
    with ThreadPoolExecutor(CALLERS) as pool:
        while dead < kills:
            doors = [stem.serve(folder), stem.serve(folder)]
            sides = [callers[0::2], callers[1::2]]
            chance.shuffle(sides)
            work = [[pool.submit(each.work, door) for each in side] for door, side in zip(doors, sides)]
            for door, side, running in zip(doors, sides, work):
                # What a kill interrupts is left to chance; what must hold is not
                time.sleep(chance.uniform(0.02, 0.3))
                door.kill()
                dead += 1
                for each in running:
                    each.result()
                for each in side:
                    if each.pending:
                        kind = each.pending.kind or "reference"
                        under_way[kind] = under_way.get(kind, 0) + 1
                if door is doors[0]:
                    for each in side:
                        each.check(doors[1])
            last = stem.serve(folder)
            for each in callers:
                each.check(last)
            if dead >= min(due, kills):
                due += 20
                for each in callers:
                    each.check_past(last)
                last.kill()
                dead += 1
                sound(folder)
                if rounds(0):
                    with capsys.disabled():
                        print(
                            f"\n{dead} kills, {sum(each.answered for each in callers)} answers",
                            end="",
                            flush=True,
                        )
            else:
                last.stop()
    swept(folder)
    sound(folder)
    last = stem.serve(folder)
    for each in callers:
        each.check(last)
        each.check_past(last)
    last.stop()
    print(
        f"\n{dead} kills in {time.monotonic() - began:.0f} s, seed {seed}, "
        f"{sum(each.answered for each in callers)} answers, {sum(each.repeated for each in callers)} calls sent "
        f"again; under way at a kill: {under_way}"
    )
