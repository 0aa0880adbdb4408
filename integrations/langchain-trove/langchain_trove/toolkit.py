"""Tools that work in a workspace."""

from collections.abc import Iterable
from typing import Any

from langchain_core.tools import BaseTool, BaseToolkit
from pydantic import ConfigDict, Field

from langchain_trove.clients import Clients, Source
from langchain_trove.tool import specs, tool
from trove_agents.tools import DEFAULT, MAX_CHARACTERS, ToolContext, ToolSpec


class TroveToolkit(BaseToolkit):
    """Tools that work in a workspace: ``bash``, in which models can do with files what they know how to do.

    A tool invoked with a tool call gives a ``ToolMessage``: ``content`` is for the model, text or, for images and PDFs
    that were read, content blocks; ``artifact`` is a dict for the program (of ``bash``: ``exit_code``, ``duration_ms``,
    ``files_changed``, ``truncated`` ...). A command that exits non-zero is a result. What the model can put right comes
    back as a message of status ``error``; every other ``TroveError`` is raised and ends the run.

    Args:
        client: Whose workspace: a ``TroveClient``, for asynchronous agents too, which then call it in a thread; an
            ``AsyncTroveClient``, for asynchronous agents only; or a function that finds one for the run's configuration,
            such as ``per_thread(client)``. All of one server.
        async_client: For asynchronous agents: an ``AsyncTroveClient``, or a function as above.
        tools: Which ones: ``bash``, ``read``, ``write``, ``edit``, ``list``, ``glob``, ``grep``, ``snapshot``, ``restore``,
            ``diff``.
        max_characters: Of one result's text for the model. Longer output of a command loses its middle, with a note where
            all of it is.

    Raises:
        TypeError: no client.
        ValueError: a tool that is not known.
    """

    model_config = ConfigDict(arbitrary_types_allowed=True)

    clients: Clients = Field(exclude=True, repr=False)
    context: ToolContext = Field(exclude=True, repr=False)
    specs: tuple[ToolSpec[Any, Any], ...] = Field(exclude=True, repr=False)

    def __init__(
        self,
        client: Source | None = None,
        *,
        async_client: Source | None = None,
        tools: Iterable[str] = DEFAULT,
        max_characters: int = MAX_CHARACTERS,
    ) -> None:
        super().__init__(  # type: ignore[call-arg]  # pydantic's fields, not seen through BaseToolkit
            clients=Clients.of(client, async_client),
            context=ToolContext(max_characters),
            specs=specs(tools),
        )

    def get_tools(self) -> list[BaseTool]:
        """The tools, for ``create_agent(model, tools)`` or ``model.bind_tools(tools)``."""
        return [tool(spec, self.clients, self.context) for spec in self.specs]
