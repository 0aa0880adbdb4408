"""The database on a real disk: durability, several processes, forks, signals, faults."""

import contextlib
import os
import signal
import sqlite3
import stat
import subprocess
import sys
import textwrap
import threading
import time
import warnings

import pytest
from sqlalchemy import bindparam, delete, func, insert, select, text, update

from trove_agents.server.db import CommitFailed, Database
from trove_agents.server.db.commit import Closed
from trove_agents.server.db.lists import Among, integers
from trove_agents.server.db.tables import blobs, contents, workspaces

SECONDS = 30.0  # only guards against hanging
ADD = insert(workspaces)
COUNT = select(func.count()).select_from(workspaces)
IDS = select(workspaces.c.id).order_by(workspaces.c.id)


def add(database, key):
    return database.write(lambda tx: tx.run(ADD, id=key, name="n", created_us=0))


def count(database):
    with database.read() as db:
        return db.one(COUNT)[0]


@pytest.fixture
def database(tmp_path):
    database = Database.open(tmp_path / "state")
    yield database
    database.close()


def pragma(connection, name):
    return connection._raw.execute(f"PRAGMA {name}").fetchone()[0]


def test_only_the_owner_can_read_it(database, tmp_path):
    add(database, "a")
    assert stat.S_IMODE((tmp_path / "state").stat().st_mode) == 0o700
    modes = {f.name: stat.S_IMODE(f.stat().st_mode) for f in (tmp_path / "state").iterdir()}
    assert modes == dict.fromkeys(("trove.db", "trove.db-wal", "trove.db-shm", "trove.lock"), 384)


def test_commits_are_synced_and_only_the_writer_checkpoints(database):
    settings = database.write(
        lambda tx: [pragma(tx, name) for name in ("journal_mode", "synchronous", "wal_autocheckpoint")]
    )
    assert settings == ["wal", 2, 0]
    with database.read() as db:
        assert pragma(db, "wal_autocheckpoint") == 0
        assert pragma(db, "synchronous") == 2


def test_a_reader_cannot_write(database):
    with database.read() as db, pytest.raises(sqlite3.OperationalError, match="readonly"):
        db.run(ADD, id="a", name="n", created_us=0)


def test_readers_are_pooled(database):
    with database.read() as db:
        first = db._raw
    with database.read() as db:
        assert db._raw is first
        with database.read() as other:
            assert other._raw is not first


def test_reopening_does_not_import_alembic(tmp_path):
    Database.open(tmp_path).close()
    script = (
        "import sys, pathlib; from trove_agents.server.db import Database;"
        "Database.open(pathlib.Path(sys.argv[1])).close(); assert 'alembic' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", script, str(tmp_path)], check=True, timeout=SECONDS)


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
        assert tx.one(IDS) is None

    database.write(work)


def test_closing_leaves_one_file_and_refuses_the_rest(tmp_path):
    database = Database.open(tmp_path)
    add(database, "a")
    database.close()
    database.close()
    assert sorted(f.name for f in tmp_path.iterdir()) == ["trove.db", "trove.lock"]
    with pytest.raises(Closed):
        add(database, "b")
    with pytest.raises(Closed):
        count(database)


def test_the_log_is_copied_back_before_it_grows_large(database, tmp_path):
    blob = os.urandom(4000)
    for _start in range(0, 6000, 200):
        database.write(lambda tx: tx.many(insert(contents), [{"digest": b"", "size": 0, "data": blob}] * 200))
    assert (tmp_path / "state" / "trove.db-wal").stat().st_size < 12_000_000
    assert (tmp_path / "state" / "trove.db").stat().st_size > 16_000_000


def test_a_transaction_that_sqlite_rolls_back_is_lost_with_all_in_it(database):
    """``OR ROLLBACK`` ends the transaction as a full disk does, savepoints and all."""
    add(database, "a")
    clash = text("INSERT OR ROLLBACK INTO workspaces VALUES ('a', 'n', 0)")
    gate, results = threading.Event(), {}

    def run(key, function):
        try:
            results[key] = database.write(function)
        except Exception as error:
            results[key] = error

    threads = [threading.Thread(target=run, args=("lead", lambda tx: gate.wait(SECONDS)))]
    threads[0].start()
    for key, function in (
        ("b", lambda tx: tx.run(ADD, id="b", name="n", created_us=0)),
        ("clash", lambda tx: tx.run(clash)),
        ("c", lambda tx: tx.run(ADD, id="c", name="n", created_us=0)),
    ):
        threads.append(threading.Thread(target=run, args=(key, function)))
        threads[-1].start()
        while len(database._commits._pending) < len(threads) - 1:
            time.sleep(0.001)
    gate.set()
    for thread in threads:
        thread.join(SECONDS)
    assert isinstance(results["b"], CommitFailed) and isinstance(results["c"], CommitFailed)
    assert isinstance(results["clash"], CommitFailed)
    assert isinstance(results["clash"].__cause__, sqlite3.IntegrityError)
    add(database, "d")
    with database.read() as db:
        assert db.all(IDS) == [("a",), ("d",)]


def test_a_full_database_refuses_and_recovers(database):
    limit = database.write(lambda tx: (pragma(tx, "max_page_count"), pragma(tx, "page_count")))
    database.write(lambda tx: pragma(tx, f"max_page_count={limit[1] + 2}"))
    large = {"digest": b"", "size": 0, "data": bytes(100_000)}
    with pytest.raises((CommitFailed, sqlite3.OperationalError), match="full"):
        database.write(lambda tx: tx.run(insert(contents), **large))
    database.write(lambda tx: pragma(tx, f"max_page_count={limit[0]}"))
    database.write(lambda tx: tx.run(insert(contents), **large))
    with database.read() as db:
        assert db.all(select(contents.c.size)) == [(0,)]


def run(script, *arguments, **options):
    return subprocess.Popen(
        [sys.executable, "-c", textwrap.dedent(script), *map(str, arguments)],
        stdout=subprocess.PIPE,
        text=True,
        **options,
    )


WRITER = """
    import sys, pathlib
    from sqlalchemy import insert
    from trove_agents.server.db import Database
    from trove_agents.server.db.tables import contents, workspaces

    database = Database.open(pathlib.Path(sys.argv[1]))
    for number in range(int(sys.argv[3])):
        def work(tx):
            tx.run(insert(workspaces), id=f"{sys.argv[2]}-{number:05}", name="n", created_us=0)
            tx.run(insert(contents), digest=b"", size=0, data=bytes(3000))
            tx.many(insert(contents), [{"digest": b"", "size": 1, "data": b""}] * 20)
        database.write(work)
        print(number, flush=True)
    if "close" in sys.argv:
        database.close()
"""


def test_processes_share_a_folder_while_they_commit_and_checkpoint(database, tmp_path):
    folder = tmp_path / "state"
    others = [run(WRITER, folder, name, 300, "close") for name in "ab"]
    for number in range(100):
        add(database, f"own-{number}")
        count(database)
    for other in others:
        other.communicate(timeout=SECONDS)
        assert other.returncode == 0
    assert count(database) == 700
    with database.read() as db:
        assert pragma(db, "integrity_check") == "ok"


def test_a_killed_process_loses_nothing_it_was_told_of(tmp_path):
    process = run(WRITER, tmp_path, "a", 100_000)
    told = [int(process.stdout.readline()) for _ in range(200)]
    process.kill()
    told += [int(line) for line in process.stdout.read().split()]
    process.wait()
    process.stdout.close()
    database = Database.open(tmp_path)
    with database.read() as db:
        kept = {row[0] for row in db.all(IDS)}
        assert pragma(db, "integrity_check") == "ok"
    database.close()
    assert {f"a-{number:05}" for number in told} <= kept


def forked(function):
    """What ``function`` says in a forked child."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # newer Pythons warn of threads
        reader, writer = os.pipe()
        child = os.fork()
    if child == 0:
        status = 1
        try:
            os.write(writer, repr(function()).encode())
            status = 0
        finally:
            os._exit(status)
    os.close(writer)
    with os.fdopen(reader) as answer:
        said = answer.read()
    assert os.waitpid(child, 0)[1] == 0
    return said


def test_a_forked_child_and_its_parent_both_go_on(database):
    add(database, "before")

    def child():
        for number in range(20):
            add(database, f"child-{number}")
        seen = count(database)
        database.close()
        return seen

    assert forked(child) == "21"
    for number in range(20):
        add(database, f"parent-{number}")
    assert count(database) == 41
    assert forked(lambda: count(database)) == "41"
    with database.read() as db:
        assert pragma(db, "integrity_check") == "ok"


def test_a_fork_waits_for_a_transaction_and_takes_none_of_it(database):
    started, results = threading.Event(), []

    def slow(tx):
        tx.run(ADD, id="slow", name="n", created_us=0)
        started.set()
        time.sleep(0.1)

    thread = threading.Thread(target=lambda: results.append(database.write(slow)))
    thread.start()
    assert started.wait(SECONDS)
    assert forked(lambda: (add(database, "child"), count(database))[1]) == "2"
    thread.join(SECONDS)
    assert results == [None]
    assert count(database) == 2


def refused(function):
    try:
        return function()
    except Closed as error:
        assert "forked in the middle of a call" in str(error)
        return "refused"


REFUSED = repr("refused")


def test_a_fork_waits_for_a_reader_of_another_thread(database):
    add(database, "a")
    lent, forking = threading.Event(), threading.Event()

    def read():
        with database.read() as db:
            lent.set()
            assert forking.wait(SECONDS)
            assert db.one(COUNT) == (1,)

    thread = threading.Thread(target=read)
    thread.start()
    assert lent.wait(SECONDS)
    threading.Timer(0.05, forking.set).start()
    assert forked(lambda: (add(database, "b"), count(database))[1]) == "2"
    thread.join(SECONDS)
    assert count(database) == 2


def test_a_child_forked_while_a_reader_is_lent_uses_no_connection_to_that_file(database):
    # Not even a new one: it would take the locks of the parent's connection for its own
    add(database, "a")
    with database.read() as db:
        assert db.one(COUNT) == (1,)
        assert forked(lambda: refused(lambda: count(database))) == REFUSED
        assert forked(lambda: refused(lambda: add(database, "b"))) == REFUSED
        assert forked(lambda: refused(lambda: Database.open(database._folder))) == REFUSED
        assert db.one(COUNT) == (1,)
    assert forked(lambda: (add(database, "b"), count(database))[1]) == "2"
    assert count(database) == 2


def test_a_fork_inside_a_transaction_leaves_it_to_the_parent(database):
    def work(tx):
        tx.run(ADD, id="a", name="n", created_us=0)
        said.append(forked(lambda: refused(lambda: count(database))))
        tx.run(ADD, id="b", name="n", created_us=0)

    said = []
    database.write(work)
    assert said == [REFUSED]
    assert count(database) == 2
    add(database, "c")
    assert count(database) == 3


FORKING = """
    import faulthandler, os, pathlib, sys, threading, warnings
    from sqlalchemy import insert, select, func
    from trove_agents.server.db import Database
    from trove_agents.server.db.tables import workspaces

    warnings.simplefilter("ignore", DeprecationWarning)
    faulthandler.dump_traceback_later(60, exit=True)
    database = Database.open(pathlib.Path(sys.argv[1]) / "main")
    ADD, COUNT = insert(workspaces), select(func.count()).select_from(workspaces)
    stopping, errors = threading.Event(), []

    def add(name):
        database.write(lambda tx: tx.run(ADD, id=name, name="n", created_us=0))

    def count():
        with database.read() as db:
            return db.one(COUNT)[0]

    def opens():
        other = Database.open(pathlib.Path(sys.argv[1]) / "other")
        other.close()

    def always(work):
        try:
            number = 0
            while not stopping.is_set():
                work(number)
                number += 1
        except BaseException as error:
            errors.append(repr(error))

    works = [lambda n: add(f"t-{n}"), lambda n: count(), lambda n: count(), lambda n: opens()]
    threads = [threading.Thread(target=always, args=(work,)) for work in works]
    [thread.start() for thread in threads]
    for number in range(40):
        child = os.fork()
        if child == 0:
            add(f"c-{number}")
            os._exit(0 if count() else 1)
        assert os.waitpid(child, 0)[1] == 0
    stopping.set()
    [thread.join() for thread in threads]
    with database.read() as db:
        children = db.one(COUNT.where(workspaces.c.id.like("c-%")))[0]
    print(errors, children)
    database.close()
"""


def test_forks_while_other_threads_read_write_open_and_close(tmp_path):
    code = textwrap.dedent(FORKING)
    done = subprocess.run([sys.executable, "-c", code, tmp_path], capture_output=True, text=True, timeout=90)
    assert (done.stdout, done.stderr) == ("[] 40\n", "")
    with contextlib.closing(Database.open(tmp_path / "main")) as database, database.read() as db:
        assert pragma(db, "integrity_check") == "ok"


def test_the_parent_may_close_while_the_child_lives(tmp_path):
    database = Database.open(tmp_path)
    add(database, "a")
    to_child, from_parent = os.pipe()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        child = os.fork()
    if child == 0:
        try:
            add(database, "child")
            os.read(to_child, 1)
            add(database, "after the parent closed")
            os._exit(0 if count(database) == 3 else 2)
        finally:
            os._exit(1)
    while count(database) < 2:
        time.sleep(0.001)
    database.close()
    os.write(from_parent, b"x")
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
    os.close(to_child)
    os.close(from_parent)
    database = Database.open(tmp_path)
    assert count(database) == 3
    database.close()


SIGNALLED = """
    import os, pathlib, random, signal, sys, threading, time
    from sqlalchemy import insert, select
    from trove_agents.server.db import Database
    from trove_agents.server.db.tables import workspaces

    database = Database.open(pathlib.Path(sys.argv[1]))
    told, interrupts, stop = [], 0, threading.Event()

    def add(key):
        database.write(lambda tx: tx.run(insert(workspaces), id=key, name="n", created_us=0))
        told.append(key)

    def others(name):
        number = 0
        while not stop.is_set():
            add(f"{name}-{number}")
            number += 1

    def strike():
        while not stop.is_set():
            time.sleep(random.random() * 0.002)
            os.kill(os.getpid(), signal.SIGINT)

    armed = False

    def interrupt(*_):  # once for each write, and never between two
        global armed
        if armed:
            armed = False
            raise KeyboardInterrupt

    signal.signal(signal.SIGINT, interrupt)
    threads = [threading.Thread(target=others, args=(name,)) for name in "abc"]
    striker = threading.Thread(target=strike)
    for thread in [*threads, striker]:
        thread.start()
    number = 0
    while number < 50 or interrupts < 20:
        number += 1
        try:
            armed = True
            add(f"main-{number}")
            armed = False
        except KeyboardInterrupt:
            interrupts += 1
    stop.set()
    striker.join()
    for thread in threads:
        thread.join(10)
        assert not thread.is_alive(), "a writer hangs"
    add("last")
    with database.read() as db:
        kept = {row[0] for row in db.all(select(workspaces.c.id))}
    assert set(told) <= kept, "told, not kept"
    assert len(told) == len(set(told))
    print(interrupts, len(kept))
    database.close()
"""


def test_a_storm_of_signals_stops_no_other_writer(tmp_path):
    process = run(SIGNALLED, tmp_path, stderr=subprocess.PIPE)
    said, errors = process.communicate(timeout=SECONDS)
    assert process.returncode == 0, errors
    interrupts, kept = map(int, said.split())
    assert interrupts >= 20
    assert kept > 30


WAITER = """
    import os, pathlib, signal, sys, threading
    from sqlalchemy import func, insert, select
    from trove_agents.server.db import Database
    from trove_agents.server.db.tables import workspaces

    database = Database.open(pathlib.Path(sys.argv[1]))
    leading, gate, results = threading.Event(), threading.Event(), []

    def add(key):
        database.write(lambda tx: tx.run(insert(workspaces), id=key, name="n", created_us=0))
        results.append(key)

    def lead():
        database.write(lambda tx: leading.set() or gate.wait(20))
        results.append("leader")

    def strike():
        while len(database._commits._pending) < 1:
            pass
        os.kill(os.getpid(), signal.SIGINT)

    leader = threading.Thread(target=lead)
    leader.start()
    leading.wait(20)
    threading.Thread(target=strike).start()
    try:
        add("waiter")
    except KeyboardInterrupt:
        results.append("interrupted")
    gate.set()
    leader.join(20)
    add("next")
    with database.read() as db:
        print(sorted(results), db.one(select(func.count()).select_from(workspaces))[0])
    database.close()
"""


def test_ctrl_c_on_a_waiter_withdraws_its_request(tmp_path):
    process = run(WAITER, tmp_path)
    said, _ = process.communicate(timeout=SECONDS)
    assert said.strip() == "['interrupted', 'leader', 'next'] 1"


def test_what_need_not_be_durable_is_not_synced_and_the_next_is_again(database):
    def synchronous(tx):
        return pragma(tx, "synchronous")

    told = [database.write(synchronous, durable=durable) for durable in (False, True, False, False, True)]
    assert told == [1, 2, 1, 1, 2]
    assert database.write(synchronous) == 2


PASSING = """
    import os, pathlib, signal, sys
    from sqlalchemy import insert
    from trove_agents.server.db import Database
    from trove_agents.server.db.tables import workspaces

    database = Database.open(pathlib.Path(sys.argv[1]))
    for name, durable in (("synced", True), ("passing", False)):
        row = {"id": name, "name": "n", "created_us": 0}
        database.write(lambda tx: tx.run(insert(workspaces), **row), durable=durable)
    os.kill(os.getpid(), signal.SIGKILL)
"""


def test_what_need_not_be_durable_outlives_its_process_and_is_seen_by_others(database, tmp_path):
    process = run(PASSING, tmp_path / "state")
    assert process.wait(SECONDS) == -signal.SIGKILL
    process.stdout.close()
    with database.read() as db:
        assert db.all(IDS) == [("passing",), ("synced",)]
