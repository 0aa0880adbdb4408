"""One tool of the catalogue as a LangChain tool."""

from typing import Any, Literal

from langchain_core.tools import BaseTool
from pydantic import Field

from langchain_trove.errors import translated
from trove_agents import AsyncTroveClient, TroveClient
from trove_agents.tools import MAX_CHARACTERS, ToolSpec


class TroveTool(BaseTool):
    """A tool that works in one workspace. ``TroveToolkit`` makes them.

    Invoked with a tool call it gives a ``ToolMessage``: ``content`` is the text for the model, ``artifact`` the
    value behind it (an ``ExecResult`` for ``bash``). A command that exits non-zero is a result. What the model
    can put right comes back as a message of status ``error``; every other ``TroveError`` is raised.

    Synchronous calls need the synchronous client. Asynchronous ones use the asynchronous client, or the
    synchronous one in a thread.
    """

    spec: ToolSpec[Any, Any] = Field(exclude=True, repr=False)
    client: TroveClient | None = Field(default=None, exclude=True)
    async_client: AsyncTroveClient | None = Field(default=None, exclude=True)
    max_characters: int = MAX_CHARACTERS
    """Of text for the model; longer output loses its middle, with a note."""
    response_format: Literal["content", "content_and_artifact"] = "content_and_artifact"

    def __init__(
        self,
        spec: ToolSpec[Any, Any],
        *,
        client: TroveClient | None = None,
        async_client: AsyncTroveClient | None = None,
        **options: Any,
    ) -> None:
        told = {
            "name": spec.name,
            "description": spec.description,
            "args_schema": spec.parameters,
            "handle_tool_error": True,
        }
        super().__init__(spec=spec, client=client, async_client=async_client, **(told | options))

    def _run(self, **arguments: Any) -> tuple[str, Any]:
        if self.client is None:
            raise TypeError(f"{self.name} has only an asynchronous client: use ainvoke, or add a TroveClient")
        with translated():
            result = self.client.run(self.spec.call(arguments, max_characters=self.max_characters))
        return result.text, result.value

    async def _arun(self, **arguments: Any) -> tuple[str, Any]:
        if self.async_client is None:
            in_thread: tuple[str, Any] = await super()._arun(**arguments)
            return in_thread
        with translated():
            result = await self.async_client.run(
                self.spec.call(arguments, max_characters=self.max_characters)
            )
        return result.text, result.value
