"""Tools of the catalogue as a toolset."""

from collections.abc import Awaitable, Callable, Iterable
from typing import Any, TypeAlias

from anyio.to_thread import run_sync
from pydantic_ai import BinaryContent, FunctionToolset, RunContext, Tool, ToolReturn
from pydantic_ai.exceptions import UserError
from pydantic_ai.toolsets import ToolsetTool

from pydantic_ai_trove.acting import marked, step_of
from pydantic_ai_trove.backend import TroveWorkspaceBackend
from pydantic_ai_trove.errors import translated
from trove_agents import AsyncTroveClient, TroveClient
from trove_agents.tools import CATALOG, DEFAULT, MAX_CHARACTERS, Attachment, ToolContext, ToolResult, ToolSpec

Whose: TypeAlias = Callable[[RunContext[Any]], Awaitable[AsyncTroveClient]]


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
        client: TroveClient | AsyncTroveClient | Whose | None = None,
        *,
        tools: Iterable[str] = DEFAULT,
        max_characters: int = MAX_CHARACTERS,
        id: str | None = None,  # noqa: A002 (as Pydantic AI's toolsets name it)
    ) -> None:
        names = tuple(tools)
        if unknown := set(names) - set(CATALOG):
            raise ValueError(f"no tool {min(unknown)!r}; there are: {', '.join(CATALOG)}")
        context = ToolContext(max_characters)
        super().__init__([_tool(CATALOG[name], client or of_run, context) for name in names], id=id)
        self._of_run = client is None or not isinstance(client, TroveClient | AsyncTroveClient)

    async def get_tools(self, ctx: RunContext[Any]) -> dict[str, ToolsetTool[Any]]:
        """Those that the run may use."""
        found = await super().get_tools(ctx)
        if self._of_run and ctx.workspace.read_only:
            return {name: tool for name, tool in found.items() if not CATALOG[name].changes_files}
        return found


async def of_run(ctx: RunContext[Any]) -> AsyncTroveClient:
    """A client for the workspace of a run.

    Raises:
        UserError: it is not one of ours.
    """
    backend = ctx.workspace.backend
    if not isinstance(backend, TroveWorkspaceBackend):
        raise UserError(
            "these tools need a workspace of Trove: give the agent the capability TroveWorkspace, or the toolset a client"
        )
    return await backend.client()


def _tool(
    spec: ToolSpec[Any, Any], client: TroveClient | AsyncTroveClient | Whose, context: ToolContext
) -> Tool[Any]:
    async def run(ctx: RunContext[Any], **arguments: Any) -> ToolReturn:
        with translated():
            if isinstance(client, TroveClient):
                return _returned(await run_sync(_called, client, spec, arguments, context, ctx))
            mine = client if isinstance(client, AsyncTroveClient) else await client(ctx)
            if await mine.run(context.has("steps")):
                mine = marked(mine, step_of(ctx))
            return _returned(await mine.run(spec.call(arguments, context)))

    return Tool.from_schema(
        run, spec.name, spec.description, spec.parameters, takes_ctx=True, sequential=spec.changes_files
    )


def _called(
    client: TroveClient,
    spec: ToolSpec[Any, Any],
    arguments: dict[str, Any],
    context: ToolContext,
    ctx: RunContext[Any],
) -> ToolResult[Any]:
    if client.run(context.has("steps")):
        client = marked(client, step_of(ctx))
    return client.run(spec.call(arguments, context))


def _returned(result: ToolResult[Any]) -> ToolReturn:
    shown = [_shown(each) for each in result.attachments]
    # What stands in the metadata is stored with the message, as JSON
    return ToolReturn([result.text, *shown] if shown else result.text, metadata=result.plain)


def _shown(attachment: Attachment) -> BinaryContent:
    # As the kind that it is read back as from a stored history
    return BinaryContent.narrow_type(
        BinaryContent(attachment.data, media_type=attachment.media_type, identifier=attachment.path)
    )
