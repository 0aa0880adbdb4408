"""Lists that are read page by page."""

from typing import Any, Protocol

from sqlalchemy import ColumnElement, bindparam, func, select

from trove_agents.server.db import Connection
from trove_agents.server.db.connection import Row
from trove_agents.wire.wallets import Pagination


class Asked(Protocol):
    """What a query says of the page that it is for."""

    @property
    def page(self) -> int: ...
    @property
    def limit(self) -> int: ...


class Paged:
    """The two statements of a list; a module constant, since each is compiled once.

    Args:
        columns: What a row has; the first is its key.
        where: Which rows.
        order: How they come.
    """

    def __init__(
        self, columns: tuple[ColumnElement[Any], ...], *where: ColumnElement[bool], order: ColumnElement[Any]
    ) -> None:
        self._count = select(func.count(columns[0])).where(*where)
        self._page = (
            select(*columns).where(*where).order_by(order).limit(bindparam("count")).offset(bindparam("skip"))
        )

    def read(self, db: Connection, asked: Asked, **values: Any) -> tuple[list[Row], Pagination]:
        """The rows of a page, and where it stands. ``values`` are those of ``where``."""
        row = db.one(self._count, **values)
        assert row is not None, "a count has a row"
        rows = db.all(self._page, **values, count=asked.limit, skip=(asked.page - 1) * asked.limit)
        return rows, place(asked, row[0])


def place(asked: Asked, total: int) -> Pagination:
    """Where a page stands in a list of that many."""
    return Pagination(page=asked.page, limit=asked.limit, total=total, pages=-(-total // asked.limit))
