"""A list of any length as one parameter, so that a statement's text stays the same."""

import json
from collections.abc import Iterable
from typing import Any

from sqlalchemy import BindParameter, ColumnElement, Text, bindparam
from sqlalchemy.ext.compiler import compiles
from sqlalchemy.types import NullType


class Among(ColumnElement[Any]):
    """``column IN (a list)``; the value to send comes from ``integers`` or ``texts``, as the column's type is."""

    inherit_cache = False
    type = NullType()  # of a Boolean, SQLite's dialect would ask whether it equals 1

    def __init__(self, column: ColumnElement[Any], name: str) -> None:
        self.column = column
        self.list: BindParameter[str] = bindparam(name)


def integers(values: Iterable[int]) -> str:
    """What to send for the parameter of an ``Among``."""
    return json.dumps(list(values))


def texts(values: Iterable[str]) -> str:
    """As ``integers``. No text may hold a NUL or a lone surrogate."""
    return json.dumps(list(values))


@compiles(Among, "sqlite")
def _sqlite(element: Among, compiler: Any, **options: Any) -> str:
    column, values = compiler.process(element.column, **options), compiler.process(element.list, **options)
    return f"{column} IN (SELECT value FROM json_each({values}))"  # noqa: S608 - compiled, no values


@compiles(Among, "postgresql")
def _postgresql(element: Among, compiler: Any, **options: Any) -> str:
    column, values = compiler.process(element.column, **options), compiler.process(element.list, **options)
    kind = "TEXT" if isinstance(element.column.type, Text) else "BIGINT"
    return f"{column} IN (SELECT CAST(value AS {kind}) FROM json_array_elements_text(CAST({values} AS JSON)))"  # noqa: S608 - as above
