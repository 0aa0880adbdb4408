"""What a tool returned, as JSON and back: for a call that is answered again.

Nothing is kept that would come back as something else.
"""

import json
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import replace
from typing import Any, Final, TypeAlias, TypeVar

from langchain_core.messages import BaseMessage, ToolMessage, messages_from_dict, messages_to_dict
from langgraph.errors import ParentCommand
from langgraph.types import Command, Send

Reply: TypeAlias = ToolMessage | Command[Any]
R = TypeVar("R")

_KIND: Final = "__trove"
"""How what is no JSON by itself is told from what is."""
_PLAIN: Final = frozenset({str, int, float, bool})


def kept(reply: Any, call_id: str | None, *, raised: bool) -> Any:
    """A reply as JSON; None: it would come back as something else.

    Args:
        reply: Of a tool. An artifact that is no JSON is left out: the content is what the model is told.
        call_id: Of its call.
        raised: It was raised, as ``ParentCommand``.
    """
    if (packed := _same(reply)) is None and isinstance(reply, ToolMessage):
        packed = _same(reply.model_copy(update={"artifact": None}))
    return None if packed is None else {"reply": packed, "call_id": call_id, "raised": raised}


def answered(stored: Any, call_id: str | None) -> Any:
    """The reply that was kept, for a call that may have another id.

    Raises:
        ParentCommand: it was raised.
    """
    reply = _unpacked(stored["reply"])
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
    # The tool has run and is paid for: whatever its reply is made of must not put that in doubt
    with suppress(Exception):
        packed = json.loads(json.dumps(_packed(value)))
        if _unpacked(packed) == value:
            return packed
    return None


def _packed(value: Any) -> Any:
    if isinstance(value, BaseMessage):
        return {_KIND: "message", "value": messages_to_dict([value])[0]}
    if isinstance(value, Command):
        parts = {"graph": value.graph, "update": value.update, "goto": value.goto}
        return {_KIND: "command", "value": _packed(parts)}
    if isinstance(value, Send):
        return {_KIND: "send", "value": [value.node, _packed(value.arg)]}
    if type(value) is tuple:
        return {_KIND: "tuple", "value": [_packed(each) for each in value]}
    if type(value) is list:
        return [_packed(each) for each in value]
    if type(value) is dict:
        return {name: _packed(each) for name, each in value.items()}
    if value is None or type(value) in _PLAIN:
        return value
    raise TypeError(f"a {type(value).__name__} is no JSON")


def _unpacked(value: Any) -> Any:
    if isinstance(value, list):
        return [_unpacked(each) for each in value]
    if not isinstance(value, dict):
        return value
    kind = value.get(_KIND)
    if kind == "message":
        return messages_from_dict([value["value"]])[0]
    if kind == "command":
        return Command(**_unpacked(value["value"]))
    if kind == "send":
        return Send(*_unpacked(value["value"]))
    if kind == "tuple":
        return tuple(_unpacked(value["value"]))
    return {name: _unpacked(each) for name, each in value.items()}
