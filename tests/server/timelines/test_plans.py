"""How SQLite runs each statement of the hot paths: by which index, and never by reading a whole table.

A wrong plan once cost fifty times, and no other test would notice.
"""

import pytest
from sqlalchemy.dialects import postgresql

from trove_agents.server.timelines import (
    chain,
    change,
    comparison,
    contents,
    fast,
    namespaces,
    reads,
    referring,
    retention,
    rewinding,
    walking,
)

VALUES = {
    "after": b"", "before": 1, "bytes": b"", "hash": b"", "known": 1, "length": 0, "d": b"", "horizon": 1, "hi": 1, "id": 1, "ids": "[1]", "key": 1, "lo": 0, "most": 1,
    "n": b"", "name": "n", "step": "", "thread": "",
    "ns": 1, "s": 1, "t": 1, "to_bytes": 1, "to_files": 1, "to_timeline": 1, "to_version": 1, "v": 1,
    "version": 1, "was": 1, "was_version": 1, "workspace": "w",
}  # fmt: skip
CHAIN = "timelines USING INTEGER PRIMARY KEY (rowid=?)"
SEEK = "entries USING PRIMARY KEY (timeline=? AND dir=? AND name=? AND since=?)"
NEWEST = "x USING PRIMARY KEY (timeline=? AND dir=? AND name=? AND since<?)"
NAMED = "namespaces USING INDEX sqlite_autoindex_namespaces_1 (workspace=? AND name=?)"
SHOWN = "entries USING COVERING INDEX entries_by_until (timeline=? AND dir=? AND until>?)"
RANGE = "entries USING COVERING INDEX entries_by_until (timeline=? AND dir>? AND dir<?)"
CONTENT = "contents USING INTEGER PRIMARY KEY (rowid=?)"
PLANS = [
    (chain.LINEAGE, [CHAIN]),
    (chain._BASE, [CHAIN]),
    (chain._OWN, ["entries USING COVERING INDEX entries_by_version (timeline=? AND since<?)"]),
    (reads.POINT, [SEEK, NEWEST, CHAIN, SEEK, NEWEST]),
    (reads.LIST, [CHAIN, SHOWN]),
    (reads.TREE, [CHAIN, RANGE]),
    (reads.PART, ["entries USING PRIMARY KEY (timeline=? AND dir=? AND name>?)"]),
    (walking.DIRECTORIES, ["entries USING PRIMARY KEY (timeline=? AND dir=? AND name>?)"]),
    (
        fast.READ,
        [
            *(NAMED, SEEK, NEWEST, CONTENT + " LEFT-JOIN"),
            *(NAMED, CHAIN, SEEK, NEWEST, CONTENT + " LEFT-JOIN", NAMED),
        ],
    ),
    (contents.CONTENT, [CONTENT]),
    (contents.ADD_OTHER, [CONTENT]),
    (contents.PARTS, ["content_parts USING PRIMARY KEY (content=?)"]),
    (contents._DIGESTS, [CONTENT]),
    (change.CLOSE, [SEEK]),
    (
        comparison.CHANGED,
        ["entries USING COVERING INDEX entries_by_version (timeline=? AND since>? AND since<?)"],
    ),
    (comparison.HEADS, ["heads USING PRIMARY KEY (namespace=?)"]),
    (
        comparison.ROWS,
        ["entries USING PRIMARY KEY (timeline=? AND dir=? AND name=? AND since>? AND since<?)"],
    ),
    (namespaces.NAMED, [NAMED]),
    (namespaces._BY_ID, ["namespaces USING INTEGER PRIMARY KEY (rowid=?)"]),
    (namespaces._MOVE, ["namespaces USING INTEGER PRIMARY KEY (rowid=?)"]),
    (namespaces.THEN, ["heads USING PRIMARY KEY (namespace=? AND since<?)"]),
    (namespaces.TOTALS, ["log USING PRIMARY KEY (namespace=? AND version<?)", CHAIN]),
    (namespaces.LOGGED, ["log USING PRIMARY KEY (namespace=? AND version<?)"]),
    (namespaces.ONE_LOG, ["log USING PRIMARY KEY (namespace=? AND version=?)"]),
    (rewinding.BY_ID, ["snapshots USING PRIMARY KEY (id=?)"]),
    (
        retention.ROWS,
        ["entries USING PRIMARY KEY (timeline=? AND (dir,name,since)>(?,?,?))"],
    ),
    (retention._OLD_ROW, ["entries USING COVERING INDEX entries_by_version (timeline=? AND since<?)"]),
    (retention._KEPT, [CHAIN, "horizons USING INTEGER PRIMARY KEY (rowid=?) LEFT-JOIN"]),
    (rewinding.NEWEST, ["snapshots USING INDEX snapshots_by_namespace (namespace=?)"]),
    (referring.BY_ID, ["step_references USING PRIMARY KEY (id=?)"]),
    (
        referring.BEFORE,
        [
            "step_references USING COVERING INDEX references_by_state (timeline=? AND version=? AND thread=? AND step=?)",
            "step_references USING COVERING INDEX references_by_namespace (namespace=?)",
        ],
    ),
    (
        referring.NEWEST,
        ["step_references USING INDEX references_by_namespace (namespace=? AND created_us<?)"],
    ),
    (
        referring.NEWEST_OF_THREAD,
        ["step_references USING INDEX references_by_thread (namespace=? AND thread=? AND created_us<?)"],
    ),
    (referring._DELETE, ["step_references USING PRIMARY KEY (id=?)"]),
    (retention.POINTS[0], ["snapshots USING COVERING INDEX snapshots_by_timeline (timeline=?)"]),
    (retention.POINTS[1], ["step_references USING COVERING INDEX references_by_state (timeline=?)"]),
]


@pytest.fixture
def store(sqlite_store):
    return sqlite_store


@pytest.mark.parametrize("index", range(len(PLANS)))
def test_the_statement_is_one_of_postgresql_too(index):
    text = str(PLANS[index][0].compile(dialect=postgresql.dialect(paramstyle="named")))
    assert "json_each" not in text


def plan(db, statement):
    text, constants = db._statements.text(statement, VALUES)
    steps = [row[3] for row in db._raw.execute(f"EXPLAIN QUERY PLAN {text}", {**VALUES, **constants})]
    # The chain is a few rows in memory
    return [
        step
        for step in steps
        if not step.startswith(
            ("SCAN chain", "SCAN named", "SCAN deciding", "SCAN CONSTANT ROW", "SCAN json_each")
        )
    ]


@pytest.mark.parametrize("index", range(len(PLANS)))
def test_plan(store, index):
    statement, wanted = PLANS[index]
    with store.database.read() as db:
        steps = plan(db, statement)
    assert [step for step in steps if step.startswith("SCAN")] == []
    assert [step.removeprefix("SEARCH ") for step in steps if step.startswith("SEARCH")] == wanted
