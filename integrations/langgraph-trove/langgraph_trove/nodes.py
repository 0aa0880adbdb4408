"""Nodes that work in a workspace."""

from collections.abc import Callable
from typing import TypedDict, TypeVar

from langchain_core.runnables import Runnable, RunnableLambda

from trove_agents import AsyncTroveClient, ExecResult, TroveClient

State = TypeVar("State")


class CommandResult(TypedDict):
    """What a command gave: plain values, so that every checkpointer can store it."""

    command: str
    exit_code: int
    """0 for success; 128 + n after signal n."""
    stdout: str
    """At most 1 MB of it."""
    stderr: str
    duration_ms: int


def exec_node(
    client: TroveClient | AsyncTroveClient,
    *,
    command: str | Callable[[State], str],
    key: str = "exec",
    async_client: AsyncTroveClient | None = None,
) -> Runnable[State, dict[str, CommandResult]]:
    """A node that runs a command and writes ``CommandResult`` to one key of the state.

    A non-zero exit is a result: let an edge decide by ``exit_code``. Errors of the call itself
    (``TroveError``) end the step, so that the node's ``retry_policy`` sees them.

    Args:
        client: Whose workspace. With a ``TroveClient`` alone, asynchronous runs call it in a thread; with an
            ``AsyncTroveClient`` alone, the graph runs asynchronously only.
        command: For bash; or a function that makes it from the state. Quote what comes from a model with
            ``shlex.quote``.
        key: Where in the state the result goes.
        async_client: For asynchronous runs, beside a synchronous ``client``.
    """
    if isinstance(client, AsyncTroveClient):
        if async_client is not None:
            raise TypeError("two asynchronous clients: which one?")
        async_client, sync_client = client, None
    else:
        sync_client = client

    def line(state: State) -> str:
        return command if isinstance(command, str) else command(state)

    def run(state: State) -> dict[str, CommandResult]:
        if sync_client is None:
            raise TypeError(
                "this node has only an asynchronous client: use ainvoke, or give it a TroveClient"
            )
        text = line(state)
        return {key: _update(text, sync_client.exec_detailed(text))}

    async def arun(state: State) -> dict[str, CommandResult]:
        assert async_client is not None
        text = line(state)
        return {key: _update(text, await async_client.exec_detailed(text))}

    if async_client is None:
        return RunnableLambda(run, name=key)
    return RunnableLambda(run, afunc=arun, name=key)


def _update(command: str, result: ExecResult) -> CommandResult:
    return {
        "command": command,
        "exit_code": result.exit_code,
        "stdout": result.stdout,
        "stderr": result.stderr,
        "duration_ms": result.duration_ms,
    }
