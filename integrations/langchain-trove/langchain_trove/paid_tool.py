"""One tool that costs money, paid for wherever it is called: by an agent, in a graph of one's own, or by a program."""

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from contextvars import ContextVar
from dataclasses import dataclass, replace
from typing import Any, Final, Literal, TypeAlias, cast, get_type_hints

from langchain_core.messages import ToolMessage
from langchain_core.runnables import RunnableConfig
from langchain_core.tools import BaseTool
from langchain_core.tools.base import get_all_basemodel_annotations
from langgraph.checkpoint.base import BaseCheckpointSaver
from langgraph.prebuilt import ToolRuntime
from langgraph.prebuilt.tool_node import ToolCallRequest
from langgraph.runtime import get_runtime
from pydantic import PrivateAttr

from langchain_trove.kept import Reply
from langchain_trove.paying import Till
from langchain_trove.priced import Priced, of_itself, priced
from trove_agents.guard import AsyncGuard, Evidence, Guard, Price, texts

Key: TypeAlias = Callable[[Mapping[str, Any]], str]

_RUNTIME: Final = "runtime"
"""The argument that a ``ToolNode`` gives its runtime as."""


def paid(
    tool: BaseTool,
    price: Price | Priced | None = None,
    *,
    guard: Guard | None = None,
    async_guard: AsyncGuard | None = None,
    vendor: str | None = None,
    not_charged: Evidence | None = None,
    reported: Callable[[ToolMessage], bool] | None = None,
    key: Key | None = None,
    checkpointer: BaseCheckpointSaver[Any] | None = None,
    ask: Literal["interrupt", "refuse"] = "interrupt",
    on_replay: Literal["reuse_receipt", "charge_again"] = "reuse_receipt",
    show: bool = True,
) -> "PaidTool":
    """A tool whose calls are paid for as ``WalletMiddleware`` does it, for any agent and any ``ToolNode``.

    ::

        agent = create_agent(model, [paid(search, "0.02", guard=guard), other_tool])

    A call is known by its thread, the message that decided it, its id and its arguments; where a node makes it and no message with
    an id is known, by the node's step instead. A program that calls the tool itself
    gives ``key``, or calls it with a tool call in a thread; without a tool call it gets the content of the tool's message, and
    what refuses the payment is raised.

    Where one task of a graph makes several calls, as a ``ToolNode`` after a model's node does, LangGraph could give the answer
    to the question of one of them to another. Then nobody is asked, and the model is told.

    Args:
        tool: Any tool, MCP tools included.
        price: USD, or ``Priced``. None: what the tool says itself; see ``WalletMiddleware``.
        guard: Whose wallet pays; for asynchronous calls too, in threads.
        async_guard: For asynchronous calls.
        vendor: Who is paid. It goes before what ``Priced``, or the tool, says, as do the next two.
        not_charged: See ``Priced``.
        reported: See ``Priced``.
        key: Of a call, from its arguments; None: as above.
        checkpointer: The one that the graph is compiled with. None: the one that the run has.
        ask: See ``WalletMiddleware``.
        on_replay: See ``WalletMiddleware``.
        show: Tells the price in the tool's description.

    Raises:
        TypeError: it is no tool; there is no guard, or one of the wrong kind; or the price is a float.
        ValueError: there is no price, or it is no amount.

    Raises (when it is called):
        LookupError: there is nothing to know the call by.
        NotDurable: the run would forget that it paid; see ``Barrier``.
    """
    if not isinstance(given := cast("Any", tool), BaseTool):
        raise TypeError(f"paid takes a tool, not {type(given).__name__}: @tool makes one of a function")
    if (terms := of_itself(tool) if price is None else priced(price)) is None:
        raise ValueError(f"{tool.name} does not say what it costs: give a price")
    terms = replace(
        terms,
        vendor=vendor or terms.vendor,
        not_charged=not_charged or terms.not_charged,
        reported=reported or terms.reported,
    )
    made = PaidTool(
        tool=tool,
        name=tool.name,
        description=f"{tool.description} {texts.price_tag(terms.price)}".strip()
        if show
        else tool.description,
        args_schema=tool.args_schema,
        return_direct=tool.return_direct,
        tags=tool.tags,
        metadata=tool.metadata,
        extras=tool.extras,
    )
    till = Till(guard, async_guard, checkpointer=checkpointer, ask=ask, on_replay=on_replay)
    made._terms = _Terms(till, terms, key)  # noqa: SLF001 - made here
    return made


@dataclass(frozen=True, slots=True)
class _Terms:
    """How a tool is paid for."""

    till: Till
    priced: Priced
    key: Key | None


@dataclass(frozen=True, slots=True)
class _Here:
    """What is known of the run, where no ``ToolNode`` says it."""

    config: RunnableConfig
    execution_info: Any


Around: TypeAlias = Callable[[ToolCallRequest, Callable[[ToolCallRequest], Any]], Any]
"""What is done around a call that it is given, and that it makes."""


def _nothing(request: ToolCallRequest, make: Callable[[ToolCallRequest], Any]) -> Any:
    return make(request)


_AROUND: Final[ContextVar[Around]] = ContextVar("around", default=_nothing)


@contextmanager
def inside_payments(around: Around) -> Iterator[None]:
    """Inside, this is done around calls of paid tools while they are paid for, and not around their payments.

    Args:
        around: A coroutine function, where the calls are asynchronous.
    """
    token = _AROUND.set(around)
    try:
        yield
    finally:
        _AROUND.reset(token)


class PaidTool(BaseTool):
    """What ``paid`` makes."""

    tool: BaseTool
    """What is paid for."""
    _terms: _Terms = PrivateAttr()

    def run(self, tool_input: str | dict[str, Any], *args: Any, **options: Any) -> Any:
        """Pays for a call, and makes it."""
        call, terms, around = _Call(self, tool_input, options), self._terms, _AROUND.get()

        def make(_: ToolCallRequest) -> Reply:
            with inside_payments(_nothing):
                reply: Reply = self.tool.run(call.given, *args, **call.options)
            return reply

        def handler(request: ToolCallRequest) -> Reply:
            reply: Reply = around(request, make)
            return reply

        return call.told(
            terms.till.pay(call.request, terms.priced, handler, key=call.key, told=call.by_model)
        )

    async def arun(self, tool_input: str | dict[str, Any], *args: Any, **options: Any) -> Any:
        """As ``run``."""
        call, terms, around = _Call(self, tool_input, options), self._terms, _AROUND.get()

        async def make(_: ToolCallRequest) -> Reply:
            with inside_payments(_nothing):
                reply: Reply = await self.tool.arun(call.given, *args, **call.options)
            return reply

        async def handler(request: ToolCallRequest) -> Reply:
            reply: Reply = await around(request, make)
            return reply

        return call.told(
            await terms.till.apay(call.request, terms.priced, handler, key=call.key, told=call.by_model)
        )

    def _run(self, *args: Any, **options: Any) -> Any:
        raise NotImplementedError("`run` does not come to it")

    def get_input_schema(self, config: RunnableConfig | None = None) -> Any:
        """The tool's."""
        return self.tool.get_input_schema(config)

    @property
    def func(self) -> Callable[[], None]:
        """Where a ``ToolNode`` looks which parts of the graph it has to give: those that the tool itself needs, and its runtime,
        which says what the payment is known by.
        """

        def needs() -> None: ...

        needs.__annotations__ = {_RUNTIME: ToolRuntime, **_hints(self.tool)}
        return needs


class _Call:
    """A call as a ``ToolNode`` or a program makes it, and as the till and the tool are told of it."""

    def __init__(self, paid: PaidTool, tool_input: str | dict[str, Any], options: Mapping[str, Any]) -> None:
        tool, key = paid.tool, paid._terms.key  # noqa: SLF001 - of this module
        if not isinstance(tool_input, dict):
            raise TypeError(f"{tool.name} is paid for: give its arguments by their names")
        runtimes = [value for value in tool_input.values() if isinstance(value, ToolRuntime)]
        needs = {**_hints(tool), **get_all_basemodel_annotations(tool.get_input_schema())}
        self.given = {name: value for name, value in tool_input.items() if name != _RUNTIME or name in needs}
        shown = tool._filter_injected_args(self.given)  # noqa: SLF001 - what it tells callbacks of a call
        arguments = {
            name: value
            for name, value in shown.items()
            if name != _RUNTIME and not isinstance(value, ToolRuntime)
        }
        runtime: Any = runtimes[0] if runtimes else _here(options.get("config"))
        call_id = options.get("tool_call_id")
        self.by_model = call_id is not None
        self.key = None if key is None else key(arguments)
        # Only with an id the tool answers with a message, which says whether it failed
        self.options = {**options, "tool_call_id": call_id or self.key or ""}
        self.request = ToolCallRequest(
            tool_call={"name": tool.name, "args": arguments, "id": call_id, "type": "tool_call"},
            tool=tool,
            state=getattr(runtime, "state", {}),
            runtime=runtime,
        )

    def told(self, reply: Reply) -> Any:
        """What the caller gets."""
        return reply.content if isinstance(reply, ToolMessage) and not self.by_model else reply


def _here(config: RunnableConfig | None) -> _Here:
    info = None
    with suppress(LookupError, RuntimeError):  # outside of graphs there is none
        info = getattr(get_runtime(), "execution_info", None)
    return _Here(config or {}, info)


def _hints(tool: BaseTool) -> dict[str, Any]:
    """The annotations of the function that a tool was made from."""
    function = getattr(tool, "func", None) or getattr(tool, "coroutine", None)
    return {} if function is None else get_type_hints(function, include_extras=True)
