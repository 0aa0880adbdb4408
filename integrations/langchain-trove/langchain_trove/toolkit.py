"""All tools of one workspace."""

from langchain_core.tools import BaseTool, BaseToolkit
from pydantic import ConfigDict, Field

from langchain_trove.tool import TroveTool
from trove_agents import AsyncTroveClient, TroveClient
from trove_agents.tools import CATALOG, DEFAULT, MAX_CHARACTERS


class TroveToolkit(BaseToolkit):
    """The tools of one workspace: ``bash``, in which models can do with files what they know how to do.

    Args:
        client: For synchronous agents, and for asynchronous ones, which then call it in a thread. An
            ``AsyncTroveClient`` may stand here, too: the tools then work asynchronously only.
        async_client: For asynchronous agents.
        max_characters: Of one result's text for the model; longer output loses its middle, with a note.
    """

    model_config = ConfigDict(arbitrary_types_allowed=True)

    client: TroveClient | None = Field(default=None, exclude=True)
    async_client: AsyncTroveClient | None = Field(default=None, exclude=True)
    max_characters: int = MAX_CHARACTERS

    def __init__(
        self,
        client: TroveClient | AsyncTroveClient | None = None,
        *,
        async_client: AsyncTroveClient | None = None,
        max_characters: int = MAX_CHARACTERS,
    ) -> None:
        if isinstance(client, AsyncTroveClient):
            if async_client is not None:
                raise TypeError("two asynchronous clients: which one?")
            client, async_client = None, client
        if client is None and async_client is None:
            raise TypeError("TroveToolkit needs a TroveClient, an AsyncTroveClient, or both")
        super().__init__(  # type: ignore[call-arg]  # pydantic's fields, not seen through BaseToolkit
            client=client, async_client=async_client, max_characters=max_characters
        )

    def get_tools(self) -> list[BaseTool]:
        """The tools, for ``create_agent(model, tools)`` or ``model.bind_tools(tools)``."""
        return [
            TroveTool(
                CATALOG[name],
                client=self.client,
                async_client=self.async_client,
                max_characters=self.max_characters,
            )
            for name in DEFAULT
        ]
