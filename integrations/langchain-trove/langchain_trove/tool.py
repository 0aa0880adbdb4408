"""One tool of the catalogue as a LangChain tool."""

import base64
from collections.abc import Callable, Iterable
from functools import partial
from typing import Any, NamedTuple, TypeAlias

from langchain_core.runnables import RunnableConfig
from langchain_core.runnables.config import run_in_executor
from langchain_core.tools import BaseTool, StructuredTool
from langgraph.prebuilt import ToolRuntime

from langchain_trove.clients import C, Clients, held, thread_of
from langchain_trove.errors import translated
from trove_agents import ExecChunk
from trove_agents.tools import (
    CATALOG,
    Attachment,
    ToolContext,
    ToolResult,
    ToolSpec,
    arun_telling,
    namespace_of,
    run_telling,
)

Runtime: TypeAlias = ToolRuntime[Any, Any]


class Returned(NamedTuple):
    """What a call gives. A class, since LangChain evaluates the annotations of a tool's function with each call."""

    content: str | list[str | dict[str, Any]]
    """For the model."""
    artifact: dict[str, Any]
    """For the program."""


def specs(names: Iterable[str]) -> tuple[ToolSpec[Any, Any], ...]:
    """Those of the catalogue by their names.

    Raises:
        ValueError: there is no such tool.
    """
    wanted = tuple(names)
    if unknown := set(wanted) - set(CATALOG):
        raise ValueError(f"no tool {min(unknown)!r}; there are: {', '.join(CATALOG)}")
    return tuple(CATALOG[name] for name in wanted)


def tool(spec: ToolSpec[Any, Any], clients: Clients, context: ToolContext) -> BaseTool:
    """A tool that agents can be given. In a graph it gets its runtime; invoked directly it does without."""

    def run(config: RunnableConfig, runtime: Runtime | None = None, **arguments: Any) -> Returned:
        client = clients.sync(config)
        with translated():
            if not held() and client.run(context.has("steps")):
                client = marked(client, config, runtime)
            if runtime is None:
                return _returned(client.run(spec.call(arguments, context)))
            return _returned(run_telling(client, spec, arguments, context, _teller(runtime)))

    async def arun(config: RunnableConfig, runtime: Runtime | None = None, **arguments: Any) -> Returned:
        client = clients.asynchronous(config)
        if client is None:
            return await run_in_executor(config, partial(run, config, runtime, **arguments))
        with translated():
            if not held() and await client.run(context.has("steps")):
                client = marked(client, config, runtime)
            if runtime is None:
                return _returned(await client.run(spec.call(arguments, context)))
            return _returned(await arun_telling(client, spec, arguments, context, _teller(runtime)))

    return StructuredTool.from_function(
        run,
        arun,
        name=spec.name,
        description=spec.description,
        args_schema=spec.parameters,
        infer_schema=False,
        response_format="content_and_artifact",
        handle_tool_error=True,
    )


def marked(client: C, config: RunnableConfig, runtime: Runtime | None) -> C:
    """The client whose changes say which thread and which tool call they are for."""
    step = {"thread": thread_of(config), "call": None if runtime is None else runtime.tool_call_id}
    try:
        return client.with_step(**step)
    except ValueError:  # too long, or with what no header can carry
        return client.with_step(**{name: text and namespace_of(text) for name, text in step.items()})


def _teller(runtime: Runtime) -> Callable[[ExecChunk], None]:
    def tell(part: ExecChunk) -> None:
        runtime.emit_output_delta({"stream": part.stream, "text": part.text})

    return tell


def _returned(result: ToolResult[Any]) -> Returned:
    if not result.attachments:
        return Returned(result.text, result.plain)
    text = {"type": "text", "text": result.text}
    return Returned([text, *map(_block, result.attachments)], result.plain)


def _block(attachment: Attachment) -> dict[str, Any]:
    """A content block of LangChain's, without the random id that its own functions add."""
    block = {
        "base64": base64.b64encode(attachment.data).decode("ascii"),
        "mime_type": attachment.media_type,
    }
    if attachment.media_type.startswith("image/"):
        return {"type": "image", **block}
    name = attachment.path.rpartition("/")[2]  # some providers refuse files without one
    return {"type": "file", **block, "extras": {"filename": name}}
