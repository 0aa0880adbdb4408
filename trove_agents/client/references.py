"""Step references of one namespace: states kept for the steps of a program."""

from collections.abc import AsyncIterator, Iterator, Sequence
from datetime import datetime
from typing import Self

from trove_agents.client.acting import Acting
from trove_agents.client.call import Call, Flow, delete, get, post, value
from trove_agents.client.drive import AsyncDriver, Driver
from trove_agents.client.states import wire_state
from trove_agents.wire import headers, limits
from trove_agents.wire.references import (
    ReferencePage,
    ReferenceRequest,
    ReferencesDelete,
    ReferencesDeleted,
    StepReference,
)

_PATH = ("v1", "references")


def create_reference(*, thread: str | None = None, step: str | None = None) -> Call[StepReference]:
    """Takes a reference. Repeated, it gives the same one, unless others changed the namespace in between."""
    return post(_PATH, _REFERENCE, ReferenceRequest(thread, step), idempotent=True)


def get_reference(reference_id: str) -> Call[StepReference]:
    """One reference."""
    return get((*_PATH, reference_id), _REFERENCE)


def references_page(thread: str | None = None, *, cursor: str | None = None) -> Call[ReferencePage]:
    """One page, newest first; ``next_cursor`` continues towards older ones."""
    query = {"thread": thread, "cursor": cursor}
    return get(_PATH, _PAGE, tuple((name, text) for name, text in query.items() if text is not None))


def delete_reference(reference_id: str) -> Call[None]:
    """Deletes a reference."""
    return delete((*_PATH, reference_id), once=True)


def delete_references(
    ids: Sequence[str] | None = None, *, thread: str | None = None, before: str | datetime | None = None
) -> Flow[int]:
    """Deletes as many as there are, a bounded number with each call; how many that were."""
    count = 0
    if ids is not None and (thread is not None or before is not None):
        raise ValueError("give either ids, or thread, before or both")
    if ids is not None:
        for start in range(0, len(ids), limits.REFERENCES_DELETED):
            some = list(ids[start : start + limits.REFERENCES_DELETED])
            count += (yield from _delete(ReferencesDelete(ids=some))).deleted
        return count
    if thread is None and before is None:
        raise ValueError("say which: ids, thread or before")
    which = ReferencesDelete(thread=thread, before=None if before is None else wire_state(before))
    more = True
    while more:
        done = yield from _delete(which)
        count, more = count + done.deleted, done.more
    return count


def with_references(acting: Acting) -> Acting:
    """What asks for a reference with each change."""
    return acting.saying("references", headers.REFERENCE, "1")


class ReferencesMethods(Driver):
    """Step references of one namespace. For servers that have them: others raise ``NotSupported``."""

    def create_reference(self, *, thread: str | None = None, step: str | None = None) -> StepReference:
        """Refers to the namespace as it is now, so that a program can come back to the end of a step.

        Takes the same short time at any size, and unlike a snapshot is neither a version nor an event. As long as the
        reference exists, its state can be given wherever a snapshot can: as ``at`` of what reads, to ``diff``,
        ``fork`` and ``restore_to``. If the namespace has not changed since a reference of the same thread and step,
        the result is that one.

        Args:
            thread: Your name for the run or the conversation, at most 512 bytes; ``references`` lists by it. None:
                that of ``with_step``.
            step: Your name for the step, at most 512 bytes. None: as for ``thread``.

        Raises:
            NotSupported: the server has no references.
        """
        return self.run(self._capabilities.need("references", create_reference(thread=thread, step=step)))

    def with_references(self) -> Self:
        """A client that takes a reference with each of its changes, so that nobody else's come in between.

        Its id is ``reference_id`` of what ``write``, ``upload``, ``move``, ``copy``, ``exec_detailed`` and ``restore_to``
        return. Thread and step are those of ``with_step``; ``create_reference`` in the same step gives the last one
        again while nothing changes. It shares everything with this client and needs no closing. Its calls that change
        something raise ``NotSupported`` where the server has no references.
        """
        return self._saying(with_references(self._acting))

    def get_reference(self, reference_id: str) -> StepReference:
        """A reference by its id.

        Raises:
            TroveNotFoundError: it was deleted, or is another namespace's.
            NotSupported: the server has no references.
        """
        return self.run(self._capabilities.need("references", get_reference(reference_id)))

    def references(self, *, thread: str | None = None) -> Iterator[StepReference]:
        """The references, newest first, read page by page as they are asked for.

        Args:
            thread: Only those of this one.

        Raises:
            NotSupported: the server has no references.
        """
        self.run(self._capabilities.check("references"))
        yield from self.pages(
            lambda cursor: references_page(thread, cursor=cursor), lambda page: page.references
        )

    def delete_reference(self, reference_id: str) -> None:
        """Deletes a reference. The files of the namespace stay.

        Raises:
            TroveNotFoundError: it was deleted, or is another namespace's.
            NotSupported: the server has no references.
        """
        self.run(self._capabilities.need("references", delete_reference(reference_id)))

    def delete_references(
        self,
        ids: Sequence[str] | None = None,
        *,
        thread: str | None = None,
        before: str | datetime | None = None,
    ) -> int:
        """Deletes references and returns how many there were: those of a list, or of a thread, or older ones.

        A thousand at a time: after a failure some are deleted, and the call can be made again.

        Args:
            ids: These; unknown ones are passed over.
            thread: Those of this thread; with ``before`` only the older ones of it.
            before: Those made before this moment (ISO 8601 text or a datetime, UTC unless it says otherwise).

        Raises:
            ValueError: nothing says which, or ``ids`` stand beside the others.
            NotSupported: the server has no references.
        """
        flow = delete_references(ids, thread=thread, before=before)
        return self.run(self._capabilities.need("references", flow))


class AsyncReferencesMethods(AsyncDriver):
    """As ``ReferencesMethods``."""

    async def create_reference(self, *, thread: str | None = None, step: str | None = None) -> StepReference:
        """See :meth:`TroveClient.create_reference`."""
        return await self.run(
            self._capabilities.need("references", create_reference(thread=thread, step=step))
        )

    def with_references(self) -> Self:
        """See :meth:`TroveClient.with_references`."""
        return self._saying(with_references(self._acting))

    async def get_reference(self, reference_id: str) -> StepReference:
        """See :meth:`TroveClient.get_reference`."""
        return await self.run(self._capabilities.need("references", get_reference(reference_id)))

    async def references(self, *, thread: str | None = None) -> AsyncIterator[StepReference]:
        """See :meth:`TroveClient.references`; iterate with ``async for``."""
        await self.run(self._capabilities.check("references"))
        async for each in self.pages(
            lambda cursor: references_page(thread, cursor=cursor), lambda page: page.references
        ):
            yield each

    async def delete_reference(self, reference_id: str) -> None:
        """See :meth:`TroveClient.delete_reference`."""
        await self.run(self._capabilities.need("references", delete_reference(reference_id)))

    async def delete_references(
        self,
        ids: Sequence[str] | None = None,
        *,
        thread: str | None = None,
        before: str | datetime | None = None,
    ) -> int:
        """See :meth:`TroveClient.delete_references`."""
        flow = delete_references(ids, thread=thread, before=before)
        return await self.run(self._capabilities.need("references", flow))


def _delete(which: ReferencesDelete) -> Call[ReferencesDeleted]:
    """One call. Repeated, it deletes more of the same, so only a count is lost."""
    return post((*_PATH, "delete"), _DELETED, which, idempotent=True)


_REFERENCE = value(StepReference)
_PAGE = value(ReferencePage)
_DELETED = value(ReferencesDeleted)
