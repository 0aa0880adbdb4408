"""Tools of the catalogue as toolsets."""

from collections.abc import Awaitable, Callable
from typing import Any

from pydantic_ai import FunctionToolset, Tool, ToolReturn

from pydantic_ai_trove.errors import translated
from trove_agents import AsyncTroveClient, TroveClient
from trove_agents.tools import CATALOG, MAX_CHARACTERS, ToolResult, ToolSpec


def bash_toolset(
    client: TroveClient | AsyncTroveClient,
    *,
    max_characters: int = MAX_CHARACTERS,
    id: str | None = None,  # noqa: A002 (as Pydantic AI's toolsets name it)
) -> FunctionToolset[Any]:
    """A toolset of one tool, ``bash``, which works in the client's workspace.

    The model gets the output as text; ``metadata`` of the ``ToolReturnPart`` holds the whole result, with
    ``exit_code``, ``stdout`` and ``stderr``, for the program. Commands of one response run one after another,
    in the model's order.

    Args:
        client: Whose workspace. A synchronous client is called in a thread.
        max_characters: Of one result's text for the model; longer output loses its middle, with a note.
        id: Names the toolset for durable execution.
    """
    return FunctionToolset([_tool(CATALOG["bash"], client, max_characters)], id=id)


def _tool(spec: ToolSpec[Any, Any], client: TroveClient | AsyncTroveClient, max_characters: int) -> Tool[Any]:
    # Pydantic AI puts a plain function into a thread by itself
    function: Callable[..., ToolReturn] | Callable[..., Awaitable[ToolReturn]]
    if isinstance(client, AsyncTroveClient):
        async_client = client

        async def arun(**arguments: Any) -> ToolReturn:
            with translated():
                return _returned(await async_client.run(spec.call(arguments, max_characters=max_characters)))

        function = arun
    else:
        sync_client = client

        def run(**arguments: Any) -> ToolReturn:
            with translated():
                return _returned(sync_client.run(spec.call(arguments, max_characters=max_characters)))

        function = run
    return Tool.from_schema(
        function, spec.name, spec.description, spec.parameters, takes_ctx=False, sequential=True
    )


def _returned(result: ToolResult[Any]) -> ToolReturn:
    return ToolReturn(result.text, metadata=result.plain)  # message histories are stored as JSON
