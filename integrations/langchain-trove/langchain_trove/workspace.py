"""An agent's workspace: told to the model, recorded after every tool call, and handed to the next session."""

import hashlib
from collections.abc import Awaitable, Callable, Collection, Iterable, Sequence
from http import HTTPStatus
from typing import Annotated, Any, Final, NotRequired, TypeAlias

from langchain.agents.middleware import AgentMiddleware, AgentState, ModelRequest, ModelResponse
from langchain.agents.middleware.types import PrivateStateAttr
from langchain_core.messages import AIMessage, AnyMessage, HumanMessage, SystemMessage, ToolMessage
from langgraph.prebuilt.tool_node import ToolCallRequest
from langgraph.runtime import Runtime
from langgraph.types import Command

from langchain_trove.clients import HELD, holding
from langchain_trove.paid_tool import PaidTool, inside_payments
from langchain_trove.tool import specs, tool
from langgraph_trove import WorkspaceState, workspace_node
from trove_agents import AsyncTroveClient, TroveClient, TroveError, TroveNotFoundError, WorkspaceBootstrap
from trove_agents.tools import MAX_CHARACTERS, ToolContext

Reply: TypeAlias = ToolMessage | Command[Any]
Note: TypeAlias = Callable[[Sequence[AnyMessage]], str | None]

NOTE: Final = "workspace/.trove/agent.md"
"""Where ``bootstrap`` looks for what the session before left."""
_ASKED: Final = 1_000
_ANSWERED: Final = 4_000
"""Characters of each in a note."""
GIVEN: Final[Any] = None
"""By ``workspace_node``."""
_INVITATION: Final = f"To leave word for the next session, write it to {NOTE}."


class AgentWorkspaceState(AgentState[Any], WorkspaceState):
    """What an agent with a workspace remembers."""

    workspace_block: NotRequired[Annotated[str, PrivateStateAttr]]
    """The same for all model calls of a turn, so that prompts can be cached."""
    workspace_note: NotRequired[Annotated[str | None, PrivateStateAttr]]
    """The digest of the note that the turn began with; None: there was none."""


class WorkspaceMiddleware(AgentMiddleware[AgentWorkspaceState]):
    """Gives an agent a workspace that follows its checkpoints: for graphs that ``langgraph_trove.bind`` binds.

    ::

        agent = create_agent(model, middleware=[WorkspaceMiddleware()], checkpointer=...)
        agent = bind(agent, client)

    - The model is told what is there (``client.bootstrap()``) in its system prompt, once a turn.
    - After each tool call a reference to the files is stored with the call's result, in the state's ``workspace``. A call that
      fails, or is interrupted, leaves the files as they were. Calls that run in parallel take turns, and tools of
      ``TroveToolkit`` and ``TroveSandbox`` work under the call's own lease, whatever client they were given.
    - At the end of a turn the next session is left a note, unless the model wrote one itself.

    Put ``WalletMiddleware`` before it: whoever waits for money should not keep the workspace from others, and only so do the
    files of a call that is not paid again come back with its result. What ``paid`` made is held for within its payment anyway.

    Args:
        tools: Tools of the catalogue that the agent gets.
        only: The names of the tools whose calls work in the workspace, such as ``{"my_tool"}``, beside ``tools``; others run
            without it, and beside those. None: all tools.
        bootstrap: Whether the model is told what is there.
        handoff: Whether a note is left; or a function from the turn's messages to its text, or None for no note.
        max_characters: As for ``TroveToolkit``.

    Raises:
        ValueError: a tool that is not known.

    Raises (when the agent runs):
        langgraph_trove.NotBound: the agent is not bound, so its files would follow nothing.
    """

    state_schema = AgentWorkspaceState

    def __init__(
        self,
        *,
        tools: Iterable[str] = (),
        only: Collection[str] | None = None,
        bootstrap: bool = True,
        handoff: bool | Note = True,
        max_characters: int = MAX_CHARACTERS,
    ) -> None:
        super().__init__()
        context = ToolContext(max_characters)
        self.tools = [tool(spec, HELD, context) for spec in specs(tools)]
        self._only = None if only is None else {*only, *(each.name for each in self.tools)}
        self._tells = bootstrap
        self._note = _note if handoff is True else handoff or None

    # The turn

    def before_agent(self, state: AgentWorkspaceState, runtime: Runtime[None]) -> dict[str, Any]:  # noqa: ARG002
        """Looks what is there."""
        return self._begun(_looked())

    async def abefore_agent(self, state: AgentWorkspaceState, runtime: Runtime[None]) -> dict[str, Any]:  # noqa: ARG002
        """As ``before_agent``."""
        return self._begun(await _alooked())

    def after_agent(self, state: AgentWorkspaceState, runtime: Runtime[None]) -> None:  # noqa: ARG002
        """Leaves a note."""
        if self._note is not None and (text := self._note(state["messages"])):
            _leave(text, state.get("workspace_note"))

    async def aafter_agent(self, state: AgentWorkspaceState, runtime: Runtime[None]) -> None:  # noqa: ARG002
        """As ``after_agent``."""
        if self._note is not None and (text := self._note(state["messages"])):
            await _aleave(text, state.get("workspace_note"))

    # Model and tools

    def wrap_model_call(
        self, request: ModelRequest[None], handler: Callable[[ModelRequest[None]], ModelResponse[Any]]
    ) -> ModelResponse[Any]:
        """Tells the model what is there."""
        return handler(_told(request))

    async def awrap_model_call(
        self,
        request: ModelRequest[None],
        handler: Callable[[ModelRequest[None]], Awaitable[ModelResponse[Any]]],
    ) -> ModelResponse[Any]:
        """As ``wrap_model_call``."""
        return await handler(_told(request))

    def wrap_tool_call(self, request: ToolCallRequest, handler: Callable[[ToolCallRequest], Reply]) -> Reply:
        """Keeps the workspace for the call, and records what it leaves."""
        if not self._works(request):
            return handler(request)
        if isinstance(request.tool, PaidTool):
            with inside_payments(_called):
                return handler(request)
        result: Reply = _called(request, handler)
        return result

    async def awrap_tool_call(
        self, request: ToolCallRequest, handler: Callable[[ToolCallRequest], Awaitable[Reply]]
    ) -> Reply:
        """As ``wrap_tool_call``."""
        if not self._works(request):
            return await handler(request)
        if isinstance(request.tool, PaidTool):
            with inside_payments(_acalled):
                return await handler(request)
        result: Reply = await _acalled(request, handler)
        return result

    def _works(self, request: ToolCallRequest) -> bool:
        return self._only is None or request.tool_call["name"] in self._only

    def _begun(self, found: WorkspaceBootstrap | None) -> dict[str, Any]:
        note = _digest(None if found is None else found.agent_memory)
        if found is None or not self._tells:
            return {"workspace_block": "", "workspace_note": note}
        block = found.as_system_prompt_block()
        return {
            "workspace_block": f"{block}\n{_INVITATION}" if self._note else block,
            "workspace_note": note,
        }


@workspace_node
def _called(
    request: ToolCallRequest, handler: Callable[[ToolCallRequest], Reply], workspace: TroveClient = GIVEN
) -> Reply:
    with holding(workspace):
        return handler(request)


@workspace_node
async def _acalled(
    request: ToolCallRequest,
    handler: Callable[[ToolCallRequest], Awaitable[Reply]],
    workspace: AsyncTroveClient = GIVEN,
) -> Reply:
    with holding(workspace):
        return await handler(request)


@workspace_node
def _looked(workspace: TroveClient = GIVEN) -> WorkspaceBootstrap | None:
    try:
        return workspace.bootstrap()
    except TroveError as error:
        if error.status_code != HTTPStatus.UNSUPPORTED_MEDIA_TYPE:
            raise
        return None  # note or script is no text: nothing to tell


@workspace_node
async def _alooked(workspace: AsyncTroveClient = GIVEN) -> WorkspaceBootstrap | None:
    try:
        return await workspace.bootstrap()
    except TroveError as error:
        if error.status_code != HTTPStatus.UNSUPPORTED_MEDIA_TYPE:
            raise
        return None


@workspace_node
def _leave(text: str, before: str | None, workspace: TroveClient = GIVEN) -> None:
    try:
        there = workspace.read_file(NOTE).content or ""
    except TroveNotFoundError:
        there = None
    if _digest(there) == before:  # else the model wrote one
        workspace.write(NOTE, text)


@workspace_node
async def _aleave(text: str, before: str | None, workspace: AsyncTroveClient = GIVEN) -> None:
    try:
        there = (await workspace.read_file(NOTE)).content or ""
    except TroveNotFoundError:
        there = None
    if _digest(there) == before:
        await workspace.write(NOTE, text)


def _digest(note: str | None) -> str | None:
    return None if note is None else hashlib.sha256(note.encode()).hexdigest()


def _told(request: ModelRequest[None]) -> ModelRequest[None]:
    block = request.state.get("workspace_block")
    if not isinstance(block, str) or not block:
        return request
    if request.system_message is None:
        return request.override(system_message=SystemMessage(block))
    content = request.system_message.content
    if isinstance(content, str):
        return request.override(system_message=SystemMessage(f"{content}\n\n{block}"))
    return request.override(system_message=SystemMessage([*content, {"type": "text", "text": block}]))


def _note(messages: Sequence[AnyMessage]) -> str | None:
    """What was asked last, and what was answered."""
    asked = next((each.text for each in reversed(messages) if isinstance(each, HumanMessage)), "")
    answered = next((each.text for each in reversed(messages) if isinstance(each, AIMessage)), "")
    if not answered:
        return None
    return f"Asked: {_short(asked, _ASKED)}\n\nAnswered: {_short(answered, _ANSWERED)}\n"


def _short(text: str, limit: int) -> str:
    return text if len(text) <= limit else f"{text[:limit]}..."
