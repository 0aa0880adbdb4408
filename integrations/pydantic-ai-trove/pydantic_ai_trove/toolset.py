"""Tools of the catalogue as a toolset."""

from collections.abc import Awaitable, Callable, Iterable
from typing import Any, TypeAlias
from weakref import WeakKeyDictionary

from anyio.to_thread import run_sync
from pydantic_ai import BinaryContent, FunctionToolset, RunContext, Tool, ToolReturn
from pydantic_ai.exceptions import UserError
from pydantic_ai.toolsets import ToolsetTool

from pydantic_ai_trove.acting import marked, step_of
from pydantic_ai_trove.backend import TroveWorkspaceBackend
from pydantic_ai_trove.errors import translated
from trove_agents import AsyncTroveClient, Step, TroveClient
from trove_agents.tools import CATALOG, DEFAULT, MAX_CHARACTERS, Attachment, ToolContext, ToolResult, ToolSpec


class Contexts:
    """What the calls of a toolset share, for each client apart: what one server has another may not have."""

    def __init__(self, max_characters: int) -> None:
        self._max_characters = max_characters
        self._made: WeakKeyDictionary[TroveClient | AsyncTroveClient, ToolContext] = WeakKeyDictionary()

    def of(self, client: TroveClient | AsyncTroveClient) -> ToolContext:
        """That of a client."""
        return self._made.setdefault(client, ToolContext(self._max_characters))


Calls: TypeAlias = Callable[[RunContext[Any], str, dict[str, Any], Contexts], Awaitable[ToolReturn]]
"""Carries out a call of a tool."""


class TroveToolset(FunctionToolset[Any]):
    """Tools that work in a workspace: ``bash``, in which models can do with files what they know how to do.

    The model gets text, and images and PDFs that were read as ``BinaryContent``; ``metadata`` of the ``ToolReturnPart``
    holds what is for the program (of ``bash``: ``exit_code``, ``duration_ms``, ``files_changed``, ``truncated`` ...). A
    command that exits non-zero is a result. Calls that may change files run one after another, in the model's order.

    Args:
        client: Whose workspace; a synchronous client is called in a thread. None: that of the run, ``ctx.workspace``,
            which must be one of ours. In a run that may only read, the tools that change files are left out.
        tools: Which ones: ``bash``, ``read``, ``write``, ``edit``, ``list``, ``glob``, ``grep``, ``snapshot``,
            ``restore``, ``diff``.
        max_characters: Of one result's text for the model; longer output of a command loses its middle, with a note
            where all of it is.
        id: Names the toolset for durable execution.

    Raises:
        ValueError: a tool that is not known.
        UserError (in a run): the run's workspace is not one of ours.
    """

    def __init__(
        self,
        client: TroveClient | AsyncTroveClient | None = None,
        *,
        tools: Iterable[str] = DEFAULT,
        max_characters: int = MAX_CHARACTERS,
        id: str | None = None,  # noqa: A002 (as Pydantic AI's toolsets name it)
        _calls: Calls | None = None,
    ) -> None:
        names = tuple(tools)
        if unknown := set(names) - set(CATALOG):
            raise ValueError(f"no tool {min(unknown)!r}; there are: {', '.join(CATALOG)}")
        contexts = Contexts(max_characters)
        calls = _calls or (called_in_run if client is None else _with(client))
        super().__init__([_tool(CATALOG[name], calls, contexts) for name in names], id=id)
        self._of_run = client is None

    async def get_tools(self, ctx: RunContext[Any]) -> dict[str, ToolsetTool[Any]]:
        """Those that the run may use."""
        found = await super().get_tools(ctx)
        if self._of_run and ctx.workspace.read_only:
            return {name: tool for name, tool in found.items() if not CATALOG[name].changes_files}
        return found


async def called(
    client: AsyncTroveClient, name: str, arguments: dict[str, Any], context: ToolContext, step: Step
) -> ToolReturn:
    """A call of a tool, its changes marked where the server takes that.

    Raises:
        ModelRetry, ToolFailed: what the model can act on.
        TroveError: what it cannot.
    """
    with translated():
        if await client.run(context.has("steps")):
            client = marked(client, step)
        return _returned(await client.run(CATALOG[name].call(arguments, context)))


def backend_of(ctx: RunContext[Any]) -> TroveWorkspaceBackend:
    """The workspace of a run.

    Raises:
        UserError: it is not one of ours.
    """
    backend = ctx.workspace.backend
    if not isinstance(backend, TroveWorkspaceBackend):
        raise UserError(
            "these tools need a workspace of Trove: give the agent the capability TroveWorkspace, or the toolset a client"
        )
    return backend


async def called_in_run(
    ctx: RunContext[Any], name: str, arguments: dict[str, Any], contexts: Contexts
) -> ToolReturn:
    """A call of a tool in the workspace of its run."""
    backend = backend_of(ctx)
    client = await backend.client()
    return await called(client, name, arguments, contexts.of(backend.connection()), step_of(ctx))


def _with(client: TroveClient | AsyncTroveClient) -> Calls:
    async def carry_out(
        ctx: RunContext[Any], name: str, arguments: dict[str, Any], contexts: Contexts
    ) -> ToolReturn:
        step, context = step_of(ctx), contexts.of(client)
        if isinstance(client, AsyncTroveClient):
            return await called(client, name, arguments, context, step)
        return await run_sync(_called, client, name, arguments, context, step)

    return carry_out


def _tool(spec: ToolSpec[Any, Any], calls: Calls, contexts: Contexts) -> Tool[Any]:
    async def run(ctx: RunContext[Any], **arguments: Any) -> ToolReturn:
        return await calls(ctx, spec.name, arguments, contexts)

    return Tool.from_schema(
        run, spec.name, spec.description, spec.parameters, takes_ctx=True, sequential=spec.changes_files
    )


def _called(
    client: TroveClient, name: str, arguments: dict[str, Any], context: ToolContext, step: Step
) -> ToolReturn:
    """As ``called``."""
    with translated():
        if client.run(context.has("steps")):
            client = marked(client, step)
        return _returned(client.run(CATALOG[name].call(arguments, context)))


def _returned(result: ToolResult[Any]) -> ToolReturn:
    shown = [_shown(each) for each in result.attachments]
    # What stands in the metadata is stored with the message, as JSON
    return ToolReturn([result.text, *shown] if shown else result.text, metadata=result.plain)


def _shown(attachment: Attachment) -> BinaryContent:
    # As the kind that it is read back as from a stored history
    return BinaryContent.narrow_type(
        BinaryContent(attachment.data, media_type=attachment.media_type, identifier=attachment.path)
    )
