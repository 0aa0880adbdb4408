"""Tool calls whose commands are told as they print, for programs that show them to people."""

import contextlib
from collections.abc import AsyncGenerator, Callable, Mapping
from typing import Any, Final, TypeAlias, TypeVar, cast

import msgspec

from trove_agents.client.clients import AsyncTroveClient, TroveClient
from trove_agents.tools.bash import BASH, Command
from trove_agents.tools.spec import ToolContext, ToolResult, ToolSpec
from trove_agents.wire.exec import ExecChunk, ExecResult

A = TypeVar("A", bound=msgspec.Struct)
R = TypeVar("R")

Tell: TypeAlias = Callable[[ExecChunk], None]
_NEEDED: Final = ("exec.options", "exec.stream")


def run_telling(
    client: TroveClient,
    spec: ToolSpec[A, R],
    arguments: Mapping[str, Any],
    context: ToolContext,
    tell: Tell,
) -> ToolResult[Any]:
    """A tool call, of which ``tell`` hears what a command prints, as it does so.

    The command is sent once: a connection that breaks stops it, and nothing of it is kept. Where the server does not
    stream, and of other tools, nothing is told.

    Args:
        client: Whose workspace.
        spec: The tool.
        arguments: As the model sent them.
        context: What the client's calls share.
        tell: Called with each piece. What it raises stops the command.

    Raises:
        TroveError: as ``ToolSpec.call``.
    """
    if spec is not BASH or not client.run(context.has(*_NEEDED)):
        return client.run(spec.call(arguments, context))
    asked, command = BASH.parse(arguments), Command(context)
    client.run(command.before())
    for part in client.exec_stream(asked.command, timeout=asked.timeout):
        if isinstance(part, ExecResult):
            return BASH.result(client.run(command.after(part)), context)
        tell(part)
    raise AssertionError("a stream ends with its result, or raises")


async def arun_telling(
    client: AsyncTroveClient,
    spec: ToolSpec[A, R],
    arguments: Mapping[str, Any],
    context: ToolContext,
    tell: Tell,
) -> ToolResult[Any]:
    """As ``run_telling``."""
    if spec is not BASH or not await client.run(context.has(*_NEEDED)):
        return await client.run(spec.call(arguments, context))
    asked, command = BASH.parse(arguments), Command(context)
    await client.run(command.before())
    stream = cast(
        "AsyncGenerator[ExecChunk | ExecResult]", client.exec_stream(asked.command, timeout=asked.timeout)
    )
    async with contextlib.aclosing(stream) as parts:
        async for part in parts:
            if isinstance(part, ExecResult):
                return BASH.result(await client.run(command.after(part)), context)
            tell(part)
    raise AssertionError("a stream ends with its result, or raises")
