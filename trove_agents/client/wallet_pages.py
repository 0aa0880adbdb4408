"""Where a page of a wallet's list stands, and what leads to the next."""

from collections.abc import Sequence
from typing import Protocol

import msgspec


class Identified(Protocol):
    """What lists hold."""

    @property
    def id(self) -> int: ...


class Pagination(msgspec.Struct, frozen=True):
    """As servers say it."""

    page: int
    pages: int

    def following(self, found: Sequence[object]) -> str | None:
        """The number of the page after one on which that was found."""
        return str(self.page + 1) if found and self.page < self.pages else None

    def older(self, found: Sequence[Identified]) -> str | None:
        """The id before which the next page of a list begins that is read by ids, newest first."""
        return str(found[-1].id) if found and self.pages > 1 else None
