"""What a tool returned, as JSON and back: for a call that is answered again.

Nothing is kept that would come back as something else.
"""

from collections.abc import Iterator
from contextlib import suppress
from dataclasses import replace
from typing import Any, TypeAlias, TypeVar

from langchain_core.messages import ToolMessage
from langgraph.errors import ParentCommand
from langgraph.types import Command

from langgraph_trove.packing import packed, unpacked

Reply: TypeAlias = ToolMessage | Command[Any]
R = TypeVar("R")


def kept(reply: Any, call_id: str | None, *, raised: bool) -> Any:
    """A reply as JSON; None: it would come back as something else.

    Args:
        reply: Of a tool. An artifact that is no JSON is left out: the content is what the model is told.
        call_id: Of its call.
        raised: It was raised, as ``ParentCommand``.
    """
    if (found := _same(reply)) is None and isinstance(reply, ToolMessage):
        found = _same(reply.model_copy(update={"artifact": None}))
    return None if found is None else {"reply": found, "call_id": call_id, "raised": raised}


def answered(stored: Any, call_id: str | None) -> Any:
    """The reply that was kept, for a call that may have another id.

    Raises:
        ParentCommand: it was raised.
    """
    reply = unpacked(stored["reply"])
    if (message := message_of(reply, stored["call_id"])) is not None:
        reply = replaced(reply, message, message.model_copy(update={"tool_call_id": call_id}))
    if stored["raised"]:
        raise ParentCommand(reply)
    return reply


def message_of(reply: Any, call_id: str | None) -> ToolMessage | None:
    """The message that a reply ends a call with; None: there is none."""
    if isinstance(reply, ToolMessage):
        return reply
    return next((each for each in _messages(reply) if each.tool_call_id == call_id), None)


def replaced(reply: R, message: ToolMessage, other: ToolMessage) -> R:
    """A reply with another message in the place of one."""
    new: Any = reply
    if reply is message:
        new = other
    elif isinstance(reply, Command):
        new = replace(reply, update=replaced(reply.update, message, other))
    elif isinstance(reply, list):
        new = [replaced(each, message, other) for each in reply]
    elif isinstance(reply, dict):
        new = {name: replaced(each, message, other) for name, each in reply.items()}
    found: R = new
    return found


def _messages(value: Any) -> Iterator[ToolMessage]:
    if isinstance(value, ToolMessage):
        yield value
    elif isinstance(value, Command):
        yield from _messages(value.update)
    elif isinstance(value, list | dict):
        for each in value.values() if isinstance(value, dict) else value:
            yield from _messages(each)


def _same(value: Any) -> Any:
    with suppress(ValueError):
        return packed(value)
    return None
