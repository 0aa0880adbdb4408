"""What differs between two states of a namespace, and what happened to it."""

from collections.abc import AsyncIterator, Iterator
from typing import Final

from trove_agents.client.call import Call, Flow, get, value
from trove_agents.client.drive import AsyncDriver, Driver
from trove_agents.client.states import State, wire_state
from trove_agents.wire.history import Difference, Differences, HistoryEntry, HistoryPage

_FIRST: Final = 10
"""Entries of the first page: most want to know what happened last."""


def diff_page(a: State, b: State | None = None, *, cursor: str | None = None) -> Call[Differences]:
    """One page of what differs; ``next_cursor`` continues between the same two versions."""
    query = {"from": wire_state(a), "to": None if b is None else wire_state(b), "cursor": cursor}
    given = tuple((name, text) for name, text in query.items() if text is not None)
    return get(("v1", "diff"), _DIFFERENCES, given)


def diff(a: State, b: State | None = None) -> Flow[list[Difference]]:
    """All that differs, read page by page."""
    page = yield from diff_page(a, b)
    found = list(page.entries)
    while page.next_cursor is not None:
        page = yield from diff_page(a, b, cursor=page.next_cursor)
        found += page.entries
    return found


def history_page(
    path: str | None = None, *, limit: int | None = None, cursor: str | None = None
) -> Call[HistoryPage]:
    """One page, newest first; ``next_cursor`` continues towards older versions."""
    query = {"path": path, "limit": None if limit is None else str(limit), "cursor": cursor}
    given = tuple((name, text) for name, text in query.items() if text is not None)
    return get(("v1", "history"), _HISTORY_PAGE, given)


class HistoryMethods(Driver):
    """The past of one namespace."""

    def diff(self, a: State, b: State | None = None) -> list[Difference]:
        """What differs between two states: each path with what it was and what it became.

        In byte order of the paths, a directory before its content. The cost follows how much changed, not how
        much there is.

        Args:
            a: A snapshot, a reference or the id of one, a version, or a moment (ISO 8601 text or a datetime, UTC unless it says
                otherwise).
            b: As ``a``; None: the namespace as it is now.

        Raises:
            NotSupported: the server has no comparisons.
            TroveNotFoundError: no such snapshot here, or a moment before the namespace's first version.
        """
        return self.run(self._capabilities.need("diff", diff(a, b)))

    def history(self, path: str | None = None) -> Iterator[HistoryEntry]:
        """What happened, newest first, read page by page as it is asked for.

        Each entry says which version, when, by which key, in which step, and by what: ``write``, ``exec``,
        ``restore`` ... Its ``version`` can be given as ``at`` to the methods that read.

        Args:
            path: The versions that changed this file or directory entry; a link itself. None: all versions of the
                namespace, with the totals after each.

        Raises:
            NotSupported: the server has no history.
            TroveNotFoundError: the namespace was never used.
        """
        self.run(self._capabilities.check("history"))
        yield from self.pages(lambda cursor: _next_page(path, cursor), lambda page: page.entries)


class AsyncHistoryMethods(AsyncDriver):
    """As ``HistoryMethods``."""

    async def diff(self, a: State, b: State | None = None) -> list[Difference]:
        """See :meth:`TroveClient.diff`."""
        return await self.run(self._capabilities.need("diff", diff(a, b)))

    async def history(self, path: str | None = None) -> AsyncIterator[HistoryEntry]:
        """See :meth:`TroveClient.history`; iterate with ``async for``."""
        await self.run(self._capabilities.check("history"))
        async for entry in self.pages(lambda cursor: _next_page(path, cursor), lambda page: page.entries):
            yield entry


def _next_page(path: str | None, cursor: str | None) -> Call[HistoryPage]:
    return history_page(path, limit=_FIRST if cursor is None else None, cursor=cursor)


_DIFFERENCES = value(Differences)
_HISTORY_PAGE = value(HistoryPage)
