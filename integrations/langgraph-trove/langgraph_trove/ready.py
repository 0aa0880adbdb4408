"""Ready nodes: a command, a file."""

import asyncio
from abc import abstractmethod
from collections.abc import Callable
from typing import Any, TypedDict

from langchain_core.runnables import Runnable, RunnableConfig

from langgraph_trove import flows
from langgraph_trove.flows import Ask, Clients, Flow
from langgraph_trove.holds import ahold, hold
from langgraph_trove.nodes import anew, left, node_name, recorded, working
from langgraph_trove.runs import here
from trove_agents import ExecResult


class CommandResult(TypedDict):
    """What a command gave: plain values, so that every checkpointer can store it."""

    command: str
    exit_code: int
    """0 for success; 128 + n after signal n."""
    stdout: str
    """At most 1 MB of it."""
    stderr: str
    duration_ms: int


@working
class _Ready(Runnable[Any, Any]):
    """A node that does one thing, with whichever client there is."""

    def invoke(self, input: Any, config: RunnableConfig | None = None, **_: Any) -> Any:  # noqa: A002, ARG002 - LangChain's
        run, found = here()
        name = node_name(found)
        with hold(run, name) as held:
            flows.run(anew(held, found))
            result = flows.run(self._work(held.clients, input))
            ref = flows.run(left(held, found))
        return recorded(found, name, result, ref)

    async def ainvoke(self, input: Any, config: RunnableConfig | None = None, **_: Any) -> Any:  # noqa: A002 - as above
        run, found = here()
        if run.clients.asynchronous is None:
            return await asyncio.to_thread(self.invoke, input, config)
        name = node_name(found)
        async with ahold(run, name) as held:
            await flows.arun(anew(held, found))
            result = await flows.arun(self._work(held.clients, input))
            ref = await flows.arun(left(held, found))
        return recorded(found, name, result, ref)

    @abstractmethod
    def _work(self, clients: Clients, state: Any) -> Flow[Any]:
        """What is done, and the update of the state that it makes."""


class ExecNode(_Ready):
    """Runs a command and writes its ``CommandResult`` to one key of the state.

    A non-zero exit is a result: let an edge decide by ``exit_code``. Errors of the call itself (``TroveError``) end the
    step, so that the node's ``retry_policy`` sees them.

    Args:
        command: For bash; or a function that makes it from the state. Quote what comes from a model with
            ``shlex.quote``.
        key: Where in the state the result goes.
        timeout: Seconds that the command may take; None: as many as the server gives.
    """

    def __init__(
        self, command: str | Callable[[Any], str], *, key: str = "exec", timeout: float | None = None
    ) -> None:
        self._command = command
        self._key = key
        self._timeout = timeout

    def _work(self, clients: Clients, state: Any) -> Flow[dict[str, CommandResult]]:
        command = self._command if isinstance(self._command, str) else self._command(state)
        options = {} if self._timeout is None else {"timeout": self._timeout}
        result: ExecResult = yield Ask(clients, lambda client: client.exec_detailed(command, **options))
        return {
            self._key: {
                "command": command,
                "exit_code": result.exit_code,
                "stdout": result.stdout,
                "stderr": result.stderr,
                "duration_ms": result.duration_ms,
            }
        }


class WriteNode(_Ready):
    """Writes a text file. It leaves the rest of the state as it is.

    Args:
        path: Of the file; or a function that makes it from the state.
        content: The text; or a function that makes it from the state.
    """

    def __init__(self, path: str | Callable[[Any], str], content: str | Callable[[Any], str]) -> None:
        self._path = path
        self._content = content

    def _work(self, clients: Clients, state: Any) -> Flow[dict[str, Any]]:
        path = self._path if isinstance(self._path, str) else self._path(state)
        content = self._content if isinstance(self._content, str) else self._content(state)
        yield Ask(clients, lambda client: client.write(path, content))
        return {}
