"""Bringing the files to where a history has them, once, before a run goes on from it.

Every change that a tool makes is marked with the conversation, so what happened to the files since the history's last
reference is known to be the conversation's own, of calls that the history does not have, or others'. Only the own is
taken back, and whatever is taken back is kept under a reference first.
"""

from dataclasses import dataclass
from typing import Final, Literal, TypeAlias

from pydantic_ai_trove.errors import ForeignChanges, ReferenceGone
from pydantic_ai_trove.records import Point
from trove_agents import AsyncTroveClient, Difference, TroveNotFoundError

OnForeignChange: TypeAlias = Literal["keep", "restore", "refuse"]
"""What becomes of the changes of others since a history: they stay; they are taken back too; the run is refused."""
_PUT_BACK: Final = "put-back:"
"""The step of a restore to a reference, before its id."""
_SHOWN: Final = 10
_TOLD: Final = 1_000


@dataclass(frozen=True, kw_only=True)
class Alignment:
    """What was found when a run began, and done about it."""

    changed: tuple[str, ...] = ()
    """Paths that differed from the history, at most the first 1,000."""
    discarded: str | None = None
    """A reference to the files as they were found, where they were put back."""


async def align(client: AsyncTroveClient, point: Point, thread: str, policy: OnForeignChange) -> Alignment:
    """Puts the files back where a history has them.

    Where only others changed them and that is to be kept, nothing is done. Where the conversation did, too, what others
    changed before that is kept, and what they changed later is put back with the rest: a state is always of the whole.

    Raises:
        ForeignChanges: as the policy says.
        ReferenceGone: the reference is unknown.
    """
    since = await _since(client, point, thread)
    if since.own is None and not since.others:
        return Alignment()
    differences = await _differences(client, point.reference_id)
    changed = tuple(each.path for each in differences[:_TOLD])
    if not changed:
        return Alignment()
    if since.others and policy == "refuse":
        raise ForeignChanges(client.namespace or "", changed[:_SHOWN])
    if since.own is None and policy == "keep":
        return Alignment(changed=changed)
    if since.own is not None and since.others_first and policy == "keep":
        to: str | int = since.own - 1
    else:
        to = point.reference_id
    return Alignment(changed=changed, discarded=await _put_back(client, to, point.reference_id, thread))


async def go_back(client: AsyncTroveClient, reference_id: str, thread: str) -> str | None:
    """Makes the files what they were, whoever changed them; a reference to what they are now, if that is another thing.

    Raises:
        ReferenceGone: the reference is unknown.
    """
    if not await _differences(client, reference_id):
        return None
    return await _put_back(client, reference_id, reference_id, thread)


async def _put_back(client: AsyncTroveClient, to: str | int, reference_id: str, thread: str) -> str:
    """Makes the files what they were, and returns a reference to what they are now."""
    kept = await client.create_reference(thread=thread, step=f"before {_PUT_BACK}{reference_id}")
    await client.with_step(thread=thread, step=f"{_PUT_BACK}{reference_id}").restore_to(to)
    return kept.reference_id


@dataclass(frozen=True, slots=True)
class _Since:
    """What happened to the files since a point."""

    own: int | None
    """The first version that the conversation itself made."""
    others: bool
    """Whether others changed something."""
    others_first: bool
    """Whether they did before that version."""


async def _since(client: AsyncTroveClient, point: Point, thread: str) -> _Since:
    own: int | None = None
    others = others_first = False
    async for entry in client.history():  # newest first
        if entry.version <= point.version:
            break
        step = entry.step
        if step is not None and step.thread == thread:
            if step.step == f"{_PUT_BACK}{point.reference_id}":
                break  # what was before is undone, or was to be kept
            own, others_first = entry.version, False
        elif entry.kind != "snapshot":
            others = others_first = True
    return _Since(own, others, others_first)


async def _differences(client: AsyncTroveClient, reference_id: str) -> list[Difference]:
    try:
        return await client.diff(reference_id)
    except TroveNotFoundError as error:
        raise ReferenceGone(client.namespace or "", reference_id) from error
