"""A workspace that follows its conversation: the capability for agents."""

import uuid
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import KW_ONLY, dataclass, field, replace
from typing import Any, Final, TypeVar
from weakref import WeakKeyDictionary

from anyio import Lock
from pydantic_ai import AgentRunResult, RunContext, ToolReturn
from pydantic_ai.agent import CallToolsNode
from pydantic_ai.capabilities import (
    AbstractCapability,
    AgentNode,
    NodeResult,
    ValidatedToolArgs,
    WrapRunHandler,
    WrapToolExecuteHandler,
    durable_operation,
)
from pydantic_ai.exceptions import ModelRetry, ToolFailed, ToolFailedError, ToolRetryError, UserError
from pydantic_ai.messages import (
    InstructionPart,
    ModelMessage,
    ModelRequest,
    ModelResponse,
    ToolCallPart,
    ToolReturnContent,
)
from pydantic_ai.tools import ToolDefinition
from pydantic_ai.toolsets import AbstractToolset
from pydantic_ai.workspaces import WorkspaceBackend, WorkspaceRef

from pydantic_ai_trove.acting import acting, current, label, marked, own_step_of, step_of
from pydantic_ai_trove.aligning import Alignment, OnForeignChange, align, go_back
from pydantic_ai_trove.backend import TroveWorkspaceBackend
from pydantic_ai_trove.clients import Source, client_of, own_namespace
from pydantic_ai_trove.events import FilesChanged, FilesFound
from pydantic_ai_trove.records import (
    KEY,
    NEXT,
    PROVIDER,
    Point,
    Record,
    WorkspaceStep,
    moved,
    record_of,
    standing,
    steps_of,
    write,
)
from pydantic_ai_trove.repeating import Mark, made_again
from pydantic_ai_trove.toolset import Contexts, TroveToolset, called, called_in_run
from trove_agents import AsyncTroveClient, Step
from trove_agents.tools import DEFAULT, MAX_CHARACTERS, ToolContext, namespace_of

T = TypeVar("T")

NOTE: Final = "workspace/.trove/agent.md"
"""What one session leaves for the next."""
_INSTRUCTIONS: Final = f"""\
You have a workspace: a directory tree of your own, called workspace/, that stays when this conversation ends. \
What the next session should know, write to {NOTE} before you finish: what is done, and what is open."""


@dataclass(frozen=True, slots=True)
class Rewound:
    """A history and its files, gone back to a step."""

    messages: list[ModelMessage]
    """For ``message_history``."""
    discarded: str | None
    """A reference to what the files were before; None: they were as they had to be."""


@dataclass(frozen=True, slots=True)
class Forked:
    """A history and its files up to a step, to go on with beside the first ones."""

    messages: list[ModelMessage]
    """For ``message_history``."""
    workspace: WorkspaceRef
    """For ``workspace``. Needed only where no message of the model says it: before the first tool call."""
    conversation_id: str
    """The messages have it."""


@dataclass(frozen=True, kw_only=True)
class Outcome:
    """What a tool call came to, as a durable run keeps it."""

    content: ToolReturnContent = ""
    metadata: dict[str, Any] | None = None
    refusal: str | None = None
    """For the model, instead."""
    retry: bool = False
    """Other arguments may help."""


@dataclass
class TroveWorkspace(AbstractCapability[Any]):
    """Gives agents a workspace that follows the conversation, also when it breaks off or is taken back.

    Each conversation works in a namespace of its own, which comes into being when it is first used. What is there
    already, such as files that were uploaded for it, is taken as it is. The agent is offered ``bash``, or the tools you
    choose, and told what it finds; every tool that speaks to ``ctx.workspace`` works there, too.

    Before and after each response that calls tools a reference to the files is taken and written into the response's
    metadata, so **whoever stores the messages stores what the files were**. A run that starts from a history puts the
    files back first, to where that history has them: what a run did that was killed, or whose messages were dropped, is
    undone, and kept under a reference that the event ``FilesFound`` names. What others changed meanwhile stays as long as
    nothing of the conversation's own before it has to be undone.

    One run at a time goes on with a conversation. Servers without references, history and steps are refused
    (``NotSupported``). In realtime sessions there are the tools, and nothing is recorded.
    """

    source: Source
    """A ``Trove``, what ``connect()`` returns, or an ``AsyncTroveClient``, whose namespace is then used for all."""

    _: KW_ONLY

    namespace: str | Callable[[RunContext[Any]], str] | None = None
    """One for all runs, or what finds it for a run. None: by the conversation, see ``namespace_of``."""

    tools: Sequence[str] = DEFAULT
    """What the model is offered: see ``TroveToolset``. None, ``()``, where other capabilities bring tools."""

    orientation: bool = True
    """Tell the model at the start of a run what is there. Left out where the workspace's files have less authority than
    the application (``AuthorityWorkspace``), since names of files and the last session's note are among it."""

    hand_off: Callable[[AgentRunResult[Any]], str | None] | None = None
    """What a run leaves for the next session, from its result; otherwise the model is told to do it itself."""

    on_foreign_change: OnForeignChange = "keep"
    """What becomes of files that others changed since the history that a run starts from: ``"keep"``; ``"restore"``:
    they are put back too, and kept under a reference; ``"refuse"``: the run raises ``ForeignChanges``. Where something
    of the conversation itself has to be undone, ``"keep"`` keeps what others changed before that; what they changed later
    is put back with it, since a state is always of the whole."""

    max_characters: int = MAX_CHARACTERS
    """Of one tool result's text for the model."""

    timeout: float = 600.0
    """Seconds for commands of ``ctx.workspace`` that are given none."""

    id: str | None = "trove_workspace"
    """Fixed, so that histories and durable runs find it again; a later one replaces an earlier one."""

    _made: WeakKeyDictionary[TroveWorkspaceBackend, str] = field(
        init=False, repr=False, compare=False, default_factory=WeakKeyDictionary
    )
    """Backends by the runs that they were made for."""
    _backend: TroveWorkspaceBackend | None = field(init=False, repr=False, compare=False, default=None)
    _client: AsyncTroveClient | None = field(init=False, repr=False, compare=False, default=None)
    _noting: Lock = field(init=False, repr=False, compare=False, default_factory=Lock)
    _open: list[tuple[ModelMessage, str]] = field(init=False, repr=False, compare=False, default_factory=list)
    """Messages of this run that say what the files were before calls, and under which key."""
    _told: str | None = field(init=False, repr=False, compare=False, default=None)

    @classmethod
    def combine(cls, capabilities: Sequence[AbstractCapability[Any]]) -> AbstractCapability[Any]:
        """The last one, whole: settings of two servers are not mixed."""
        return capabilities[-1]

    @classmethod
    def from_spec(
        cls, *, base_url: str | None = None, path: str | None = None, **options: Any
    ) -> "TroveWorkspace":
        """From an agent's specification: the server is found as ``connect`` does, keys come from the environment.

        Args:
            base_url: The server; None: ``TROVE_BASE_URL``, or the embedded one.
            path: Where the embedded server keeps its state.
            options: Of this class, but functions.
        """
        from trove_agents import connect  # what brings the embedded server, where it is installed

        return cls(connect(base_url=base_url, path=path), **options)

    # What it brings
    def get_toolset(self) -> AbstractToolset[Any] | None:
        """The tools of the catalogue."""
        if not self.tools:
            return None
        return TroveToolset(
            tools=self.tools, max_characters=self.max_characters, id=self.id, _calls=self._call
        )

    def get_instructions(self) -> list[Any]:
        """That there is a workspace, and what is in it."""
        return [_INSTRUCTIONS, self._orient] if self.hand_off is None else [self._orient]

    def get_workspace(self, ctx: RunContext[Any], *, ref: WorkspaceRef | None) -> WorkspaceBackend | None:
        """The workspace of a history, or that of the conversation."""
        if ref is not None and ref.provider != PROVIDER:
            return None
        if ref is not None:
            backend = TroveWorkspaceBackend(self.source, ref=ref, timeout=self.timeout)
        else:
            backend = TroveWorkspaceBackend(self.source, namespace=self._namespace(ctx), timeout=self.timeout)
        self._made[backend] = ctx.run_id or ""
        return backend

    async def for_run(self, ctx: RunContext[Any]) -> "TroveWorkspace":  # noqa: ARG002 (as it is called)
        """What a run finds and is told is its own."""
        own = replace(self)
        own._made = self._made  # noqa: SLF001 (of this class)
        return own

    # The life of a run
    async def wrap_run(self, ctx: RunContext[Any], *, handler: WrapRunHandler) -> AgentRunResult[Any]:
        """Gives back the connections that were opened for the run."""
        try:
            return await handler()
        finally:
            backend, client = self._backend, self._client
            if backend is not None and self._made.get(backend) == ctx.run_id:
                await backend.aclose()
            if client is not None and client is not self.source:
                await client.aclose()

    async def before_run(self, ctx: RunContext[Any]) -> None:
        """Puts the files where the history has them, and looks what is there."""
        namespace = self._working(ctx)
        if namespace is None:
            return
        point = standing(ctx.messages, namespace)
        if point is not None:
            await ctx.workspace.working_dir()
            found = await self._align(namespace, point.reference_id, point.version, _thread(ctx))
            if found.changed:
                await ctx.emit(FilesFound(paths=list(found.changed), discarded=found.discarded))
        # Pydantic AI before 2.68 knows no authority of workspaces
        if self.orientation and getattr(ctx.workspace, "authority", "operator") == "operator":
            self._told = await self._look(namespace)

    async def after_node_run(
        self, ctx: RunContext[Any], *, node: "AgentNode[Any]", result: "NodeResult[Any]"
    ) -> "NodeResult[Any]":
        """Takes references before and after the calls of a response."""
        if isinstance(node, CallToolsNode):
            await self._note_after(ctx, node.model_response)
        if isinstance(result, CallToolsNode) and result.model_response.tool_calls:
            await self._note_before(ctx, result.model_response, ctx.run_step)  # as it was before the node
        return result

    async def wrap_tool_execute(
        self,
        ctx: RunContext[Any],
        *,
        call: ToolCallPart,
        tool_def: ToolDefinition,  # noqa: ARG002 (as it is called)
        args: ValidatedToolArgs,
        handler: WrapToolExecuteHandler,
    ) -> Any:
        """Marks what a call changes, and takes a reference after each of several."""
        return await self._noted(ctx, call.tool_call_id, lambda: handler(args))

    async def after_run(self, ctx: RunContext[Any], *, result: AgentRunResult[Any]) -> AgentRunResult[Any]:
        """Leaves the note, and takes the references that a streamed run has not taken yet."""
        namespace = self._working(ctx)
        responses = [each for each in result.all_messages() if isinstance(each, ModelResponse)]
        if namespace is None or not responses:
            return result
        for place, key in self._open:
            await self._note_after(ctx, place, key)
        if self.hand_off is not None and (text := self.hand_off(result)) is not None:
            point = await self._leave(namespace, text, _thread(ctx), label(ctx.run_id) or "")
            record = record_of(responses[-1]) or Record(namespace, ctx.run_id or "")
            write(responses[-1], replace(record, after=point))
        return result

    # Beside a wallet: what it knows of a workspace, see ``repeating``
    def mark(self, ctx: RunContext[Any], call: str) -> Mark | None:
        """What tells the changes of a call that has been made."""
        place, key = _place_of(ctx.messages, call)
        record = None if place is None else record_of(place, key)
        own = own_step_of(ctx)
        if record is None or record.before is None or (current() or own) != own:
            return None  # part of another call
        if record.namespace != self._working(ctx):
            return None
        step = {"thread": own.thread, "run": own.run, "step": own.step, "call": own.call}
        return {"namespace": record.namespace, "since": record.before.version, "step": step}

    async def write_again(self, ctx: RunContext[Any], call: str, mark: Mark) -> Sequence[str] | None:
        """Makes the changes of a call once more, and takes the references of it."""
        namespace = self._working(ctx)
        if namespace is None:
            return ()

        async def work() -> Sequence[str] | None:
            await ctx.workspace.working_dir()
            here = marked(self._at(namespace), current())
            async with self._reaching(mark["namespace"]) as there:
                return await made_again(there, here, mark)

        return await self._noted(ctx, call, work)

    # Going back
    @staticmethod
    def steps(history: Sequence[ModelMessage]) -> list[WorkspaceStep]:
        """The places of a history to go back to, oldest first. Each has a reference to what the files were."""
        return steps_of(history)

    async def rewind(self, history: Sequence[ModelMessage], step: int | WorkspaceStep) -> Rewound:
        """Takes a history and its files back to a step; go on with ``message_history=rewound.messages``.

        Nothing is lost: what the files were is kept under the reference ``discarded``.

        Args:
            history: As ``all_messages()`` gave it, stored or not.
            step: One of ``steps(history)``, or its place there; -1 is the last.

        Raises:
            IndexError: there is no such step.
            ReferenceGone: its reference was deleted.
            UserError: it lies before the fork that the history goes on in: ``fork`` from there instead.
        """
        places = steps_of(history)
        place = _place(places, step)
        if place.namespace != places[-1].namespace:
            raise UserError(
                f"step {place.index} was made in {place.namespace!r}, of which {places[-1].namespace!r} is a fork: "
                "fork the history from there instead"
            )
        messages = list(history[: place.messages])
        async with self._reaching(place.namespace) as client:
            discarded = await go_back(client, place.reference_id, _thread_of(messages))
        return Rewound(messages, discarded)

    async def fork(
        self, history: Sequence[ModelMessage], step: int | WorkspaceStep, *, namespace: str | None = None
    ) -> Forked:
        """A second conversation that goes on from a step, with files of its own; the first one stays as it is.

        Copies no files, and takes the same short time at any size.

        Args:
            history: As for ``rewind``.
            step: As for ``rewind``.
            namespace: The fork's; None: a new name.

        Raises:
            IndexError: there is no such step.
            TroveNotFoundError: its reference was deleted.
            TroveConflictError: the namespace is taken.
        """
        place = _place(steps_of(history), step)
        conversation = str(uuid.uuid4())
        if namespace is None:
            mapped = self.namespace is None and own_namespace(self.source) is None
            namespace = conversation if mapped else f"{place.namespace[:95]}-{uuid.uuid4().hex}"
        async with self._reaching(place.namespace) as client:
            await client.fork(namespace, place.reference_id)
        async with self._reaching(namespace) as client:
            made = await client.create_reference(thread=conversation, step="fork")
        now = Point(made.reference_id, made.version)
        messages = moved(history[: place.messages], namespace, now, conversation)
        return Forked(messages, WorkspaceRef(provider=PROVIDER, id=namespace), conversation)

    async def forget(self, history: Sequence[ModelMessage]) -> int:
        """Deletes the references of a conversation, those that its history does not have among them; how many.

        The files stay as they are, and nobody can go back. Start further runs from ``without_references(history)``.
        """
        places = {each.namespace for each in map(record_of, history) if each is not None}
        count = 0
        for namespace in places:
            async with self._reaching(namespace) as client:
                count += await client.delete_references(thread=_thread_of(history))
        return count

    # What reaches the server, once for each step of a durable run
    @durable_operation(name="align")
    async def _align(self, namespace: str, reference_id: str, version: int, thread: str) -> Alignment:
        point = Point(reference_id, version)
        return await align(self._at(namespace), point, thread, self.on_foreign_change)

    @durable_operation(name="look")
    async def _look(self, namespace: str) -> str:
        return (await self._at(namespace).bootstrap()).as_system_prompt_block()

    @durable_operation(name="refer")
    async def _refer(self, namespace: str, thread: str, step: str) -> Point:
        made = await self._at(namespace).create_reference(thread=thread, step=step)
        return Point(made.reference_id, made.version)

    @durable_operation(name="compare")
    async def _compare(self, namespace: str, before: str, after: str) -> list[str]:
        differences = await self._at(namespace).diff(before, after)
        return [each.path for each in differences[:1_000]]

    @durable_operation(name="leave")
    async def _leave(self, namespace: str, text: str, thread: str, run: str) -> Point:
        await self._at(namespace).with_step(thread=thread, run=run, step="hand-off").write(NOTE, text)
        return await self._refer(namespace, thread, f"{run} hand-off")

    # Its own
    async def _noted(self, ctx: RunContext[Any], call: str, work: Callable[[], Awaitable[T]]) -> T:
        """What the work of a call comes to, with the references that belong to it."""
        place, key = _place_of(ctx.messages, call)
        if current() is not None or place is None or self._working(ctx) is None:
            return await work()  # part of another call
        await self._note_before(ctx, place, ctx.run_step - 1, key)
        with acting(step_of(ctx)):
            try:
                result = await work()
            except (ToolFailedError, ToolRetryError):  # these, too, are results that the model hears of
                await self._note_call(ctx, place, key, call)
                raise
        await self._note_call(ctx, place, key, call)
        return result

    async def _note_before(
        self, ctx: RunContext[Any], place: ModelMessage, ended: int, key: str = KEY
    ) -> None:
        namespace = self._working(ctx)
        if namespace is None:
            return
        async with self._noting:
            record = record_of(place, key)
            if record is not None and (record.namespace, record.run) == (namespace, ctx.run_id):
                return
            await ctx.workspace.working_dir()  # so that it is there
            point = await self._refer(namespace, _thread(ctx), _step(ctx, ended))
            first = None if record is None or record.namespace != namespace else record.begun()
            write(place, Record(namespace, ctx.run_id or "", before=point, first=first), key)
            self._open.append((place, key))

    async def _note_call(self, ctx: RunContext[Any], place: ModelMessage, key: str, call: str) -> None:
        if key == KEY and isinstance(place, ModelResponse) and len(place.tool_calls) < 2:
            return
        async with self._noting:
            record = record_of(place, key)
            assert record is not None, "written before the first call"
            step = _step(ctx, ctx.run_step, label(call))
            point = await self._refer(record.namespace, _thread(ctx), step)
            write(place, replace(record, calls={**(record.calls or {}), call: point}), key)

    async def _note_after(self, ctx: RunContext[Any], place: ModelMessage, key: str = KEY) -> None:
        record = record_of(place, key)
        if record is None or record.run != ctx.run_id or record.before is None or record.after is not None:
            return
        point = await self._refer(record.namespace, _thread(ctx), _step(ctx, ctx.run_step))
        write(place, replace(record, after=point), key)
        if point.version == record.before.version:
            return
        changed = await self._compare(record.namespace, record.before.reference_id, point.reference_id)
        if changed:
            await ctx.emit(FilesChanged(paths=changed, reference_id=point.reference_id))

    async def _orient(self) -> InstructionPart | None:
        # Were it not asynchronous, each request to a model would call it in a thread
        if self._told is None:
            return None
        return InstructionPart(self._told, name="orientation", on_change="append")

    def _namespace(self, ctx: RunContext[Any]) -> str:
        if callable(self.namespace):
            return self.namespace(ctx)
        if (fixed := self.namespace or own_namespace(self.source)) is not None:
            return fixed
        last = next((each for each in reversed(ctx.messages) if isinstance(each, ModelResponse)), None)
        if last is not None and last.workspace_ref is not None and last.workspace_ref.provider == PROVIDER:
            # The history's is not asked for: the run is to start in a new one
            return f"ws-{uuid.uuid4().hex}"
        return namespace_of(ctx.conversation_id or "")

    def _working(self, ctx: RunContext[Any]) -> str | None:
        """The namespace that a run works in; None: the workspace is another's, or there is none."""
        if not ctx.workspace.attached:
            return None
        if ctx.in_durable_context:
            ref = ctx.workspace.ref
            return ref.id if ref is not None and ref.provider == PROVIDER else None
        backend = ctx.workspace.backend
        if not isinstance(backend, TroveWorkspaceBackend) or backend.source is not self.source:
            return None
        self._backend = backend
        return backend.namespace

    async def _call(
        self, ctx: RunContext[Any], name: str, arguments: dict[str, Any], contexts: Contexts
    ) -> ToolReturn:
        """A call of a tool. In a durable run it is an operation of its own, which a recovery does not repeat."""
        if not ctx.in_durable_context:
            return await called_in_run(ctx, name, arguments, contexts)
        await ctx.workspace.working_dir()
        ref = ctx.workspace.ref
        if ref is None or ref.provider != PROVIDER:
            raise UserError("the run works in a workspace of another provider")
        at = step_of(ctx)
        step = {"thread": at.thread, "run": at.run, "step": at.step, "call": at.call}
        outcome = await self._carry_out(ref.id, name, arguments, step)
        if outcome.refusal is None:
            return ToolReturn(outcome.content, metadata=outcome.metadata)
        raise (ModelRetry if outcome.retry else ToolFailed)(outcome.refusal)

    @durable_operation(name="call")
    async def _carry_out(
        self, namespace: str, name: str, arguments: dict[str, Any], step: dict[str, str | None]
    ) -> Outcome:
        context = ToolContext(self.max_characters)
        try:
            async with self._reaching(namespace) as client:
                made = await called(client, name, arguments, context, Step(**step))
        except (ModelRetry, ToolFailed) as refusal:  # results, which no engine should try again
            return Outcome(refusal=str(refusal), retry=isinstance(refusal, ModelRetry))
        return Outcome(content=made.return_value, metadata=made.metadata)

    def _at(self, namespace: str) -> AsyncTroveClient:
        """The client of a run, for what it notes: that of its workspace, unless that cannot be reached from here."""
        if self._backend is not None and self._backend.namespace == namespace:
            return self._backend.connection()
        if self._client is None or self._client.namespace != namespace:
            self._client = client_of(self.source, namespace)
        return self._client

    @asynccontextmanager
    async def _reaching(self, namespace: str) -> AsyncIterator[AsyncTroveClient]:
        client = client_of(self.source, namespace)
        try:
            yield client
        finally:
            if client is not self.source:
                await client.aclose()


def _place_of(messages: Sequence[ModelMessage], call: str) -> tuple[ModelMessage | None, str]:
    """Where to note what a call does: the response that it stands in, or a message before that, where it is not there yet.
    None: a tool made the call.
    """
    responses = [each for each in messages if isinstance(each, ModelResponse)]
    if responses and any(each.tool_call_id == call for each in responses[-1].tool_calls):
        return responses[-1], KEY
    if not messages or isinstance(messages[-1], ModelResponse):
        return None, NEXT
    # Of requests in a row one is made later, which loses what they say
    in_a_row = len(messages) > 1 and isinstance(messages[-2], ModelRequest)
    return responses[-1] if in_a_row and responses else messages[-1], NEXT


def _thread(ctx: RunContext[Any]) -> str:
    return label(ctx.conversation_id) or ""


def _thread_of(messages: Sequence[ModelMessage]) -> str:
    return next(
        (label(each.conversation_id) or "" for each in reversed(messages) if each.conversation_id), ""
    )


def _step(ctx: RunContext[Any], ended: int, *calls: str | None) -> str:
    """The step of a reference: the one that ended last in a run, or the call of it. So what the files are before a step is
    the reference after the one before, unless somebody changed them meanwhile.
    """
    return " ".join(map(str, (label(ctx.run_id), ended, *calls)))


def _place(places: Sequence[WorkspaceStep], step: int | WorkspaceStep) -> WorkspaceStep:
    if isinstance(step, WorkspaceStep):
        return step
    if not -len(places) <= step < len(places):
        raise IndexError(f"there is no step {step} to go back to: the history has {len(places)}")
    return places[step]
