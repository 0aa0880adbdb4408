"""What a call of LangChain's tools takes more than the call of the client that does the same."""

import asyncio
import contextlib
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import sample
import sandboxed
from langchain_core.tools import BaseTool
from ops import Turns
from ours import NAMESPACE, Ours
from race import Timing, race
from report import Row, added

from langchain_trove import TroveToolkit

SECTION = "the toolkit"
CLIENT = "the client"
FILES = 100


@dataclass(frozen=True, slots=True)
class Call:
    """The same thing done by a tool and by a client, of either kind."""

    tool: str
    arguments: Callable[[int], dict[str, str]]
    client: Callable[[Any, int], Any]


CALLS = (
    Call("read", lambda turn: {"path": _path(turn)}, lambda client, turn: client.read_text(_path(turn))),
    Call(
        "write",
        lambda turn: {"path": _path(turn), "content": _text(turn)},
        lambda client, turn: client.write(_path(turn), _text(turn)),
    ),
    Call("bash", lambda turn: {"command": "true"}, lambda client, turn: client.exec_detailed("true")),
)


def rows(folder: Path, turns: Turns, say: Callable[[str], None]) -> tuple[list[Row], list[str]]:
    """The rows, and remarks."""
    found: list[Row] = []
    missing = sandboxed.Bare.here()
    notes = [f"the toolkit's bash was not timed: {missing}"] if isinstance(missing, str) else []

    def take(operation: str, times: dict[str, Timing]) -> None:
        row = added(SECTION, operation, times, to=CLIENT)
        found.append(row)
        say(f"{row.operation}: {row.figure} more, {row.ratio:.2f}x {row.floor}")

    with contextlib.ExitStack() as stack:
        ours = Ours(folder, FILES)
        stack.callback(ours.close)
        waiting = ours.trove.async_client(NAMESPACE)
        wait = stack.enter_context(asyncio.Runner()).get_loop().run_until_complete
        toolkit = TroveToolkit(ours.client, async_client=waiting, tools=[call.tool for call in CALLS])
        tools = {tool.name: tool for tool in toolkit.get_tools()}
        for call in CALLS:
            if call.tool == "bash" and notes:
                continue
            often = {"read": turns.read, "write": turns.write, "bash": turns.exec}[call.tool]
            take(f"toolkit {call.tool}, beside the client", _race(often, call, tools[call.tool], ours.client))
            take(
                f"toolkit {call.tool} for asyncio, beside the client",
                _arace(often, call, tools[call.tool], waiting, wait),
            )
    return found, notes


def _race(turns: int, call: Call, tool: BaseTool, client: Any) -> dict[str, Timing]:
    return race(
        turns,
        {
            CLIENT: lambda turn: call.client(client, turn),
            "ours": lambda turn: _good(tool.invoke(_asked(call, turn))),
        },
    )


def _arace(
    turns: int, call: Call, tool: BaseTool, client: Any, wait: Callable[[Any], Any]
) -> dict[str, Timing]:
    return race(
        turns,
        {
            CLIENT: lambda turn: wait(call.client(client, turn)),
            "ours": lambda turn: _good(wait(tool.ainvoke(_asked(call, turn)))),
        },
    )


def _asked(call: Call, turn: int) -> dict[str, Any]:
    """As a model asks for it."""
    return {"name": call.tool, "args": call.arguments(turn), "id": str(turn), "type": "tool_call"}


def _good(message: Any) -> None:
    if message.status != "success":
        raise RuntimeError(message.content)


def _path(turn: int) -> str:
    return sample.scattered(turn, FILES)


def _text(turn: int) -> str:
    return sample.content(turn, "toolkit")
