"""A timeline and those under it, nearest first, as one recursive statement.

A timeline's own rows lie over what its base held at a fixed version. The nearest timeline that has a row for a path
decides; that row may say the path is gone. After a flattening the base is a copy of what was visible at that one
version, so an older state is read through ``origin``, where the timeline was cut from in the first place.
"""

from typing import Final

from sqlalchemy import (
    CTE,
    BigInteger,
    ColumnElement,
    FromClause,
    Select,
    and_,
    bindparam,
    case,
    func,
    literal_column,
    select,
)

from trove_agents.server.db import Connection
from trove_agents.server.db.tables import entries, timelines
from trove_agents.server.timelines.values import At

ZERO: Final[ColumnElement[int]] = literal_column("0")
ONE: Final[ColumnElement[int]] = literal_column("1")
"""A literal: through a parameter SQLAlchemy would write ``LIMIT :n OFFSET :m`` for SQLite."""
_t, _e = timelines.c, entries.c


def below(start: Select[int, int, int], name: str) -> CTE:
    """``(id, v, depth)`` of the start, which has these columns, and of all that its reads go on to."""
    chain = start.cte(name, recursive=True)
    older = _t.base_version > chain.c.v
    capped = case((_t.origin_version < chain.c.v, _t.origin_version), else_=chain.c.v)
    following = case((older, _t.origin), else_=_t.base)
    step = select(following, case((older, capped), else_=_t.base_version), chain.c.depth + ONE).where(
        _t.id == chain.c.id, following.is_not(None)
    )
    return chain.union_all(step)


CHAIN: Final = below(
    select(
        bindparam("t", type_=BigInteger).label("id"),
        bindparam("v", type_=BigInteger).label("v"),
        ZERO.label("depth"),
    ),
    "chain",
)
LINEAGE: Final = select(CHAIN.c.id, CHAIN.c.v).order_by(CHAIN.c.depth)


def visible(chain: CTE) -> ColumnElement[bool]:
    """Rows that a timeline of the chain shows at its version.

    ``+ 0`` keeps SQLite off the index by version, which would walk the timeline's whole history.
    """
    return and_(_e.timeline == chain.c.id, _e.since + ZERO <= chain.c.v, _e.until > chain.c.v)


def newest(chain: CTE) -> ColumnElement[bool]:
    """The newest row of path ``(:d, :n)`` in a timeline of the chain."""
    return newest_of(chain.c.id, chain.c.v, correlate=chain)


def newest_of(
    timeline: ColumnElement[int], version: ColumnElement[int], *, correlate: FromClause | None = None
) -> ColumnElement[bool]:
    """The newest row of path ``(:d, :n)`` at a version: one seek, however often it was rewritten."""
    x = entries.alias("x").c
    top = select(func.max(x.since)).where(
        x.timeline == timeline, x.dir == bindparam("d"), x.name == bindparam("n"), x.since <= version
    )
    if correlate is not None:
        top = top.correlate(correlate)
    return and_(
        _e.timeline == timeline,
        _e.dir == bindparam("d"),
        _e.name == bindparam("n"),
        _e.since == top.scalar_subquery(),
    )


_BETWEEN: Final = (
    select(_e.since)
    .where(_e.timeline == bindparam("t"), _e.since > bindparam("lo"), _e.since <= bindparam("hi"))
    .limit(ONE)
)
_BASE = select(_t.base, _t.base_version, _t.origin, _t.origin_version).where(_t.id == bindparam("id"))
_OWN = select(_e.since).where(_e.timeline == bindparam("t"), _e.since <= bindparam("v")).limit(ONE)


def base(db: Connection, at: At) -> At | None:
    """Where reads of a state go on below its own timeline."""
    row = db.one(_BASE, id=at.timeline)
    if row is None:
        return None
    under, version, origin, cut = row
    if version is not None and at.version < version:
        return None if origin is None else At(origin, min(cut, at.version))
    return None if under is None else At(under, version)


def lineage(db: Connection, at: At) -> list[At]:
    """A state's own timeline, and the states it reads through, nearest first."""
    return [At(*row) for row in db.all(LINEAGE, t=at.timeline, v=at.version)]


def cut(db: Connection, at: At) -> At | None:
    """The deepest state that looks the same: where a new timeline should start; None for an empty one.

    Without this a loop of snapshot and restore would make every read pass one more timeline each time.
    """
    state: At | None = at
    while state is not None and db.one(_OWN, t=state.timeline, v=state.version) is None:
        state = base(db, state)
    return state


def unchanged(db: Connection, a: At, b: At) -> bool:
    """Whether nothing was put, changed or removed between two states. Looks at no entries, so it costs the same at
    any size; states that came to be the same in some other way are not told.
    """
    first, second = cut(db, a), cut(db, b)
    if first is None or second is None or first.timeline != second.timeline:
        return first is second
    low, high = sorted((first.version, second.version))
    return db.one(_BETWEEN, t=first.timeline, lo=low, hi=high) is None
