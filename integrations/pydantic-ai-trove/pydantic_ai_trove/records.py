"""What a history says of the files: the references taken at its steps, kept in the metadata of its model responses.

They go wherever the messages go, through any store that keeps ``ModelResponse.metadata``, and are never sent to a model.
A response that calls tools says what the files were ``before`` and ``after`` all of its calls, and, where there are
several, after each. Where a response cannot be reached when its calls are made, at the end of a streamed run, a message
before it says it. Nothing here does I/O.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Final, NamedTuple

from pydantic_ai.messages import (
    ModelMessage,
    ModelRequest,
    ModelResponse,
    RetryPromptPart,
    ToolReturnPart,
    WorkspaceRef,
)

PROVIDER: Final = "trove"
"""Of the references to workspaces; their ``id`` is the namespace."""
KEY: Final = "trove"
"""In the metadata of a response: what it says of its own calls."""
NEXT: Final = "trove_next"
"""In the metadata of a message: what it says of the calls of the response that comes next."""


class Point(NamedTuple):
    """A state of a namespace that is kept."""

    reference_id: str
    version: int


@dataclass(frozen=True, slots=True)
class Record:
    """What a response says of the files."""

    namespace: str
    run: str
    """The run that carried out its calls."""
    before: Point | None = None
    after: Point | None = None
    calls: Mapping[str, Point] | None = None
    """By the ids of the calls that ended; only where there are several."""
    first: Point | None = None
    """What the files were before any of its calls, where another run had made some of them."""

    def begun(self) -> Point | None:
        """What the files were before its calls; None: none of them was made."""
        return None if self.after is None and not self.calls else self.first or self.before

    def latest(self, ended: set[str]) -> Point | None:
        """What the files were when the last of those calls had ended."""
        points = [point for call, point in (self.calls or {}).items() if call in ended]
        begun = self.before if ended else self.first or self.before
        return max(points, key=lambda point: point.version, default=begun)


@dataclass(frozen=True, slots=True)
class WorkspaceStep:
    """A place in a history to go back to."""

    index: int
    """0 is before the first tool call; then one for each response that called tools."""
    messages: int
    """How many messages of the history lead to it."""
    tools: tuple[str, ...]
    """What was called."""
    namespace: str
    reference_id: str
    """What the files were, for ``at=`` of what reads, ``diff``, ``fork`` and ``restore_to``."""


def record_of(message: ModelMessage, key: str = KEY) -> Record | None:
    """What a message says; None for nothing, or nothing that can be read."""
    found = (message.metadata or {}).get(key)
    try:
        return None if found is None else _read(found)
    except (AttributeError, KeyError, TypeError, ValueError):
        return None


def write(message: ModelMessage, record: Record, key: str = KEY) -> None:
    """Lets a message say it. The metadata becomes another object: the former may be shared with the caller's."""
    written: dict[str, Any] = {"namespace": record.namespace, "run": record.run}
    if record.before is not None:
        written["before"] = record.before._asdict()
    if record.after is not None:
        written["after"] = record.after._asdict()
    if record.calls:
        written["calls"] = {call: point._asdict() for call, point in record.calls.items()}
    if record.first is not None:
        written["first"] = record.first._asdict()
    message.metadata = {**(message.metadata or {}), key: written}


def standing(history: Sequence[ModelMessage], namespace: str) -> Point | None:
    """What the files have to be for a run that goes on from a history; None: it does not say.

    Calls that were cut off do not count, since the model is told that they have no result, and calls that are still
    to come do not either; what the others of the same response did does.
    """
    for index in reversed(range(len(history))):
        response = history[index]
        record = _said_of(history, index)
        if record is None or record.namespace != namespace:
            continue
        assert isinstance(response, ModelResponse)
        later = history[index + 1 :]
        if not response.tool_calls or any(isinstance(message, ModelResponse) for message in later):
            return record.after or record.latest(set(record.calls or ()))
        if not later:
            return record.first or record.before
        ended = {part.tool_call_id for part in _answers(later)}
        cut_off = any(
            isinstance(message, ModelRequest) and message.state == "interrupted" for message in later
        )
        every = {call.tool_call_id for call in response.tool_calls}
        # Of a call that waits for an approval there is no state; of another without an answer what it did does not count
        unheard = set(record.calls or ()) - ended
        if record.after is None or unheard or (cut_off and not ended >= every):
            return record.latest(ended)
        return record.after
    begun = record_of(history[0], NEXT) if history else None
    return None if begun is None or begun.namespace != namespace else begun.before


def steps_of(history: Sequence[ModelMessage]) -> list[WorkspaceStep]:
    """The places to go back to, oldest first."""
    found: list[WorkspaceStep] = []
    count = 0
    for index, response in enumerate(history):
        if not isinstance(response, ModelResponse) or not response.tool_calls:
            continue
        record = _said_of(history, index)
        if record is None:
            continue
        begun = record.first or record.before
        if begun is not None and not count:
            found.append(WorkspaceStep(0, index, (), record.namespace, begun.reference_id))
        count += 1
        end = _answered(history, index, {call.tool_call_id for call in response.tool_calls})
        if record.after is not None and end is not None:
            tools = tuple(call.tool_name for call in response.tool_calls)
            found.append(WorkspaceStep(count, end, tools, record.namespace, record.after.reference_id))
    return found


def moved(
    messages: Sequence[ModelMessage], namespace: str, now: Point, conversation: str
) -> list[ModelMessage]:
    """Copies of messages that go on in another namespace, of which they say that its files are as they were."""
    ref = WorkspaceRef(provider=PROVIDER, id=namespace)
    copies = [
        replace(message, conversation_id=conversation, workspace_ref=ref)
        if isinstance(message, ModelResponse)
        else replace(message, conversation_id=conversation)
        for message in messages
    ]
    for index in reversed(range(len(copies))):
        record = _said_of(copies, index)
        if record is not None:
            write(copies[index], Record(namespace, record.run, after=now))
            break
    return copies


def without_references(history: Sequence[ModelMessage]) -> list[ModelMessage]:
    """Copies of messages that say nothing of the files: a run takes the workspace as it finds it."""
    return [_silent(message) for message in history]


def _said_of(history: Sequence[ModelMessage], index: int) -> Record | None:
    """What is said of the calls of a response, by itself or before it; None of a request."""
    response = history[index]
    if not isinstance(response, ModelResponse):
        return None
    if (own := record_of(response)) is not None:
        return own
    for message in reversed(history[:index]):
        if (said := record_of(message, NEXT)) is not None:
            ids = {call.tool_call_id for call in response.tool_calls}
            return said if ids & set(said.calls or ()) else None  # not of a response that was dropped
        if isinstance(message, ModelResponse):
            break
    return None


def _silent(message: ModelMessage) -> ModelMessage:
    kept = {key: value for key, value in (message.metadata or {}).items() if key not in {KEY, NEXT}}
    return message if kept == (message.metadata or {}) else replace(message, metadata=kept or None)


def _read(found: Mapping[str, Any]) -> Record:
    return Record(
        str(found["namespace"]),
        str(found["run"]),
        _point(found.get("before")),
        _point(found.get("after")),
        {
            str(call): Point(str(p["reference_id"]), int(p["version"]))
            for call, p in found.get("calls", {}).items()
        },
        _point(found.get("first")),
    )


def _point(found: Mapping[str, Any] | None) -> Point | None:
    return None if found is None else Point(str(found["reference_id"]), int(found["version"]))


def _answers(messages: Sequence[ModelMessage]) -> Iterator[ToolReturnPart | RetryPromptPart]:
    for message in messages:
        for part in message.parts:
            if isinstance(part, ToolReturnPart | RetryPromptPart):
                yield part


def _answered(history: Sequence[ModelMessage], index: int, calls: set[str]) -> int | None:
    """How many messages there are up to the answers to the calls of a response; None: they are not all answered."""
    end = index + 1
    while end < len(history) and isinstance(history[end], ModelRequest):
        end += 1
    ended = {part.tool_call_id for part in _answers(history[index + 1 : end])}
    return end if calls <= ended else None
