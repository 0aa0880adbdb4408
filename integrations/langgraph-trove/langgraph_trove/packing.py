"""What a node or a tool returned, as JSON and back. Nothing is taken that would come back as something else."""

import json
from typing import Any, Final

from langchain_core.messages import BaseMessage, messages_from_dict, messages_to_dict
from langgraph.types import Command, Send

_KIND: Final = "__trove"
"""How what is no JSON by itself is told from what is."""
_PLAIN: Final = frozenset({str, int, float, bool})


def packed(value: Any) -> Any:
    """A value as JSON: of what JSON has, tuples, messages, ``Command`` and ``Send``.

    Raises:
        ValueError: it would come back as something else.
    """
    try:
        found = json.loads(json.dumps(_packed(value)))
        if unpacked(found) == value:
            return found
    except Exception as error:
        # Whatever it is made of must not put in doubt what has run and is paid for
        raise ValueError(f"{type(value).__name__} cannot be told as JSON") from error
    raise ValueError(f"{type(value).__name__} is another after it was JSON")


def unpacked(value: Any) -> Any:
    """What was packed."""
    if isinstance(value, list):
        return [unpacked(each) for each in value]
    if not isinstance(value, dict):
        return value
    kind = value.get(_KIND)
    if kind == "message":
        return messages_from_dict([value["value"]])[0]
    if kind == "command":
        return Command(**unpacked(value["value"]))
    if kind == "send":
        return Send(*unpacked(value["value"]))
    if kind == "tuple":
        return tuple(unpacked(value["value"]))
    return {name: unpacked(each) for name, each in value.items()}


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
