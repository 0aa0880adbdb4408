"""Transactions on PostgreSQL: what services rely on, races, broken connections, and several servers on one database."""

import asyncio
import os
import signal
import threading
import time
import warnings

import psycopg
import pytest
from alembic.autogenerate import compare_metadata
from alembic.runtime.migration import MigrationContext
from sqlalchemy import bindparam, create_engine, delete, func, insert, select, text, update

from trove_agents.server import auth, timelines
from trove_agents.server.auth import Principal
from trove_agents.server.db import CommitFailed, Database, Stale, Unreachable, migrations
from trove_agents.server.db.commit import Closed
from trove_agents.server.db.failures import reason
from trove_agents.server.db.lists import Among, integers
from trove_agents.server.db.postgres import _Room
from trove_agents.server.db.tables import blobs, contents, events, metadata, workspaces
from trove_agents.server.errors import Busy, Conflict, Unauthorized
from trove_agents.server.events import service as event_service
from trove_agents.server.events.service import Events, EventsQuery
from trove_agents.server.keys.service import KeyService
from trove_agents.server.namespaces.locks import ExecLocks
from trove_agents.server.namespaces.service import ensure

SECONDS = 30.0
ADD = insert(workspaces)
COUNT = select(func.count()).select_from(workspaces)


def add(database, key):
    return database.write(lambda tx: tx.run(ADD, id=key, name="n", created_us=0))


def count(database):
    with database.read() as db:
        return db.one(COUNT)[0]


@pytest.fixture
def url(tmp_path):
    from sys import modules

    return modules["tests_postgres"].url(tmp_path)


@pytest.fixture
def two(url):
    """Two servers on one database."""
    pair = Database.open(url), Database.open(url)
    yield pair
    for one in pair:
        one.close()


@pytest.fixture
def database(two):
    return two[0]


def at_once(*functions):
    results = [None] * len(functions)

    def run(index, function):
        try:
            results[index] = function()
        except Exception as error:
            results[index] = error

    threads = [threading.Thread(target=run, args=item) for item in enumerate(functions)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(SECONDS)
        assert not thread.is_alive()
    return results


def test_statements(database):
    constant = update(workspaces).where(workspaces.c.id == bindparam("key")).values(name="constant")
    some = select(contents.c.size).where(Among(contents.c.id, "ids")).order_by(contents.c.size)
    first = select(workspaces.c.name).order_by(workspaces.c.id).limit(bindparam("most"))

    def work(tx):
        keys = [tx.insert(insert(contents), digest=b"d", size=size, data=None) for size in range(5)]
        tx.many(ADD, [{"id": key, "name": "n", "created_us": 0} for key in "ab"])
        tx.many(ADD, [])
        assert tx.run(constant, key="a") == 1
        assert tx.all(some, ids=integers(keys[1:3])) == [(1,), (2,)]
        assert tx.all(some, ids=integers([])) == []
        assert tx.all(first, most=1) == [("constant",)]
        for touched in (1, 2):
            tx.upsert(blobs, workspace="w", digest=b"d", size=3, touched_us=touched)
        assert tx.all(select(blobs)) == [("w", b"d", 3, 2)]
        assert tx.run(delete(workspaces)) == 2

    database.write(work)


def test_a_reader_cannot_write(database):
    with database.read() as db, pytest.raises(psycopg.errors.ReadOnlySqlTransaction):
        db.run(ADD, id="a", name="n", created_us=0)


def test_what_fails_leaves_nothing(database):
    def work(tx):
        tx.run(ADD, id="a", name="n", created_us=0)
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        database.write(work)
    with pytest.raises(RuntimeError):
        database.write(lambda tx: add(database, "b"))
    assert count(database) == 0


def test_a_lost_race_is_run_again_from_its_start_and_not_for_ever(database):
    calls = []

    def work(tx):
        calls.append(tx.run(ADD, id="a", name="n", created_us=0))
        if len(calls) < 3:
            raise Stale

    database.write(work)
    assert len(calls) == 3
    assert count(database) == 1
    with pytest.raises(psycopg.errors.UniqueViolation):
        add(database, "a")


def test_a_swallowed_failure_is_not_taken_for_a_commit(database):
    def work(tx):
        try:
            tx.run(text("SELECT 1 / 0"))
        except psycopg.Error:
            return

    with pytest.raises(CommitFailed) as caught:
        database.write(work)
    assert reason(caught.value) == "failed"


def test_what_does_not_answer_fails_with_the_commit_as_itself(database):
    """Again and again: the driver prepares a statement that is used often, and here its preparation is skipped."""

    def work(tx):
        tx.later(text("SELECT 1 / 0"))
        tx.later(ADD, id="b", name="n", created_us=0)

    for number in range(9):
        with pytest.raises(psycopg.errors.DivisionByZero):
            database.write(work)
        add(database, f"a{number}")
    assert count(database) == 9


def test_what_must_concern_a_row_and_does_not_fails_the_transaction(database):
    rename = update(workspaces).where(workspaces.c.id == bindparam("key")).values(name=bindparam("to"))

    def work(tx):
        tx.exactly(rename, ValueError("first"), key="a", to="x")
        tx.exactly(rename, ValueError("second"), key="b", to="x")
        tx.exactly(rename, ValueError("third"), key="c", to="x")

    add(database, "a")
    with pytest.raises(ValueError, match="second"):
        database.write(work)
    with database.read() as db:
        assert db.all(select(workspaces.c.id, workspaces.c.name)) == [("a", "n")]


def test_a_connection_that_the_server_ended_is_replaced(database, url):
    add(database, "a")
    assert count(database) == 1
    calls = []

    def work(tx):
        calls.append(1)
        if len(calls) == 1:
            kill_all()
        tx.run(ADD, id="b", name="n", created_us=0)

    def kill_all():
        with psycopg.connect(url, autocommit=True) as other:
            other.execute(
                "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
                " WHERE datname = current_database() AND pid <> pg_backend_pid() AND backend_type = 'client backend'"
            )

    database.write(work)
    assert len(calls) == 2
    kill_all()
    assert count(database) == 2


def test_who_writes_waits_for_one_of_a_few_connections(url):
    mine = select(func.count()).select_from(text("pg_stat_activity")).where(text("application_name = 'few'"))
    database, writers = Database.open(f"{url}&application_name=few"), 48
    begin, seen = threading.Barrier(writers), []

    def write(number):
        begin.wait()
        for turn in range(4):
            seen.append(database.write(lambda tx, key=f"{number}-{turn}": look(tx, key)))

    def look(tx, key):
        tx.run(ADD, id=key, name="n", created_us=0)
        return tx.one(mine)[0]

    threads = [threading.Thread(target=write, args=(number,)) for number in range(writers)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert count(database) == len(seen) == writers * 4
    assert max(seen) <= 16
    database.close()


def test_who_is_interrupted_while_waiting_for_a_place_takes_none():
    room, order, inside = _Room(1), [], threading.Event()

    def enter(name):
        with room:
            inside.set()
            order.append(name)

    with room:
        others = []
        for name in ("first", "second"):
            others.append(threading.Thread(target=enter, args=(name,)))
            others[-1].start()
            while len(room._waiting) < len(others):
                time.sleep(0.001)
        assert not inside.is_set()
        # What a shell starts in the background is not interrupted by the signal
        before = signal.signal(signal.SIGINT, signal.default_int_handler)
        timer = threading.Timer(0.05, os.kill, (os.getpid(), signal.SIGINT))
        timer.start()
        with pytest.raises(KeyboardInterrupt), room:
            pass
        timer.join()
        signal.signal(signal.SIGINT, before)
    for each in others:
        each.join()
    assert order == ["first", "second"]
    with room:
        order.append("free")


def test_no_server_and_no_schema_of_ours_are_told(url, tmp_path):
    with pytest.raises(Unreachable):
        Database.open(f"postgresql://postgres@/postgres?host={tmp_path}")
    with psycopg.connect(url, autocommit=True) as raw:
        raw.execute("CREATE TABLE other (id INT)")
    with pytest.raises(migrations.UnknownSchema):
        Database.open(url)


def test_the_schema_is_what_the_migrations_make(two, url):
    engine = create_engine("postgresql+psycopg://", creator=lambda: psycopg.connect(url))
    with engine.connect() as connection:
        assert compare_metadata(MigrationContext.configure(connection), metadata) == []
    engine.dispose()


def test_several_servers_open_an_empty_database_at_once(url):
    opened = at_once(*[lambda: Database.open(url)] * 4)
    for database in opened:
        add(database, os.urandom(4).hex())
    assert count(opened[0]) == 4
    for database in opened:
        database.close()
    with pytest.raises(Closed):
        count(opened[0])
    with pytest.raises(Closed):
        add(opened[0], "x")


def test_a_forked_child_and_its_parent_both_go_on(database):
    add(database, "before")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        child = os.fork()
    if child == 0:
        try:
            add(database, "child")
            os._exit(0 if count(database) >= 2 else 2)
        finally:
            os._exit(1)
    add(database, "parent")
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
    assert count(database) == 3


def test_one_namespace_written_from_two_servers_loses_nothing(two):
    """Made at once by all, and changed in the same directories in opposite order."""
    blank = timelines.Payload(b"d" * 32, 1, b"x", ())

    def writer(database, name):
        def run():
            for number in range(15):

                def work(tx, number=number):
                    now = database.now_ns()
                    space = ensure(tx, "ws-1", "main", now_ns=now)
                    change = timelines.Change(tx, space, kind="write", now_ns=now)
                    for path in ("shared/a", "shared/b")[:: 1 if name in "ac" else -1]:
                        change.put_file(path, blank, mode=0o600 + number % 8)
                    change.put_file(f"{name}/{number}", blank)
                    change.commit()

                database.write(work)

        return run

    assert at_once(*[writer(two[index % 2], name) for index, name in enumerate("abcd")]) == [None] * 4
    with two[0].read() as db:
        space = timelines.namespace(db, "ws-1", "main")
        assert space.files == len([e for e in timelines.walk(db, space.at) if not e.is_dir]) == 62


def test_times_of_events_are_committed_in_order(two):
    """Nobody who has seen an event later sees an earlier one appear, though all clocks stand still."""
    principal = Principal("ws-1", "key-1", "k", "workspace", None)
    stop = threading.Event()

    def writer(database):
        def run():
            for _number in range(25):
                database.write(
                    lambda tx: event_service.record(
                        tx, principal=principal, namespace=None, kind="t", data={}, now_ns=1000
                    )
                )

        return run

    def reader():
        times = select(events.c.created_us).order_by(events.c.created_us)
        seen = []
        while not stop.is_set():
            with two[1].read() as db:
                found = db.all(times)
            assert found[: len(seen)] == seen
            seen = found

    looking = threading.Thread(target=lambda: watched.append(at_once(reader)[0]))
    watched = []
    looking.start()
    assert at_once(*[writer(one) for one in (*two, *two)]) == [None] * 4
    stop.set()
    looking.join(SECONDS)
    assert watched == [None]
    with two[0].read() as db:
        assert db.one(select(func.count()).select_from(events)) == (100,)


def test_a_key_revoked_on_one_server_is_refused_on_the_other_at_once(two):
    one, other = map(KeyService, two)
    made = one.create_workspace("w")
    with two[1].read() as db:
        principal = auth.authenticate(db, f"Bearer {made.admin_key}")
        key = auth.authenticate(db, f"Bearer {made.key}")
    one.revoke(principal, key.key_id)
    with two[1].read() as db, pytest.raises(Unauthorized):
        auth.authenticate(db, f"Bearer {made.key}")
    types = [event.type for event in Events(two[1]).page(principal, EventsQuery()).events]
    assert types[0] == "key.revoked"
    assert at_once(*[lambda s=s: s.create_first_workspace("w") for s in (one, other)]) == [None, None]


def test_two_admin_keys_that_revoke_each_other_at_once_leave_one(two):
    services = list(map(KeyService, two))
    made = services[0].create_workspace("w")
    with two[0].read() as db:
        first = auth.authenticate(db, f"Bearer {made.admin_key}")
    for _ in range(5):
        second = services[0].issue(made.workspace_id, "second", "admin")
        results = at_once(
            lambda: services[0].revoke(first, second.key_id), lambda: services[1].revoke(first, first.key_id)
        )
        assert sum(isinstance(result, Conflict) for result in results) == 1
        with two[0].read() as db:
            left = [row for row in services[0].active(first).keys if row.scope == "admin"]
        assert len(left) == 1
        first = Principal(made.workspace_id, left[0].key_id, "k", "admin", None)


async def hop(function, *args):
    return await asyncio.get_running_loop().run_in_executor(None, function, *args)


async def test_the_exec_lock_excludes_a_server_that_shares_no_folder(two, tmp_path):
    one, other = (ExecLocks(database, tmp_path / name) for database, name in zip(two, "ab"))
    async with one.hold(7, seconds=30, hop=hop):
        with pytest.raises(Busy):
            async with other.hold(7, seconds=30, hop=hop, wait=0.05):
                pass
    async with other.hold(7, seconds=30, hop=hop):
        assert not two[0].write(lambda tx: one.free(tx, 7))
    inside, most = 0, 0

    async def visit(locks):
        nonlocal inside, most
        async with locks.hold(8, seconds=30, hop=hop):
            inside += 1
            most = max(most, inside)
            await asyncio.sleep(0.01)
            inside -= 1

    await asyncio.gather(*[visit(locks) for locks in (one, other) for _ in range(5)])
    assert most == 1
    one.close()
    other.close()


def test_a_server_lives_for_others_as_long_as_its_connection_and_again_after_it(two, url):
    one, other = two
    assert other.gone("one")
    one.announce("one")
    one.announce("one")
    assert not other.gone("one") and not one.gone("one")
    with psycopg.connect(url, autocommit=True) as raw:
        raw.execute("SELECT pg_terminate_backend(%s, 5000)", (one._alive["one"].info.backend_pid,))
    assert other.gone("one")
    one.announce("one")
    assert not other.gone("one")
    one.close()
    assert wait_until(lambda: other.gone("one"))


def wait_until(holds):
    """Within a minute: the server notices the end of a connection a moment later."""
    until = time.monotonic() + 60
    while not (found := holds()) and time.monotonic() < until:
        time.sleep(0.01)
    return found
