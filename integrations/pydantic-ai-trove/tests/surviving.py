"""A program of one durable run. ``crash``: it dies in the last of its tool calls. ``recover``: the engine goes on with it."""

import asyncio
import json
import os
import sys

from dbos import DBOS, SetWorkflowID
from pydantic_ai import Agent, RunContext
from pydantic_ai.durable_exec.dbos import DBOSDurability
from pydantic_ai.messages import ModelResponse, TextPart, ToolCallPart
from pydantic_ai.models.function import FunctionModel

from pydantic_ai_trove import TroveWorkspace
from trove_agents import Trove

PHASE = sys.argv[1]
TURNS = [
    [("bash", {"comand": "a mistake"})],
    [("bash", {"command": "echo 1 >> a"})],
    [("bash", {"command": "echo 2 >> a"}), ("last", {})],
]


def answer(messages, info):
    turn = sum(isinstance(message, ModelResponse) for message in messages)
    if turn == len(TURNS):
        return ModelResponse([TextPart("done")])
    return ModelResponse([ToolCallPart(*call, f"{turn}-{n}") for n, call in enumerate(TURNS[turn])])


trove = Trove.local("state", sandbox="none")
workspace = TroveWorkspace(trove)
agent = Agent(
    FunctionModel(answer, model_name="scripted"),
    name="surviving",
    capabilities=[DBOSDurability(), workspace],
)


@agent.tool(sequential=True)
async def last(ctx: RunContext[None]) -> str:
    if PHASE == "crash":
        os._exit(9)
    return await ctx.workspace.read_text("a")


@DBOS.workflow(name="surviving")
async def surviving() -> str:
    result = await agent.run("go")
    steps = workspace.steps(result.all_messages())
    client = trove.client(steps[0].namespace)
    return json.dumps(
        {
            "output": result.output,
            "then": [
                {
                    e.path: client.read_text(e.path, at=s.reference_id)
                    for e in client.list_dir(at=s.reference_id)
                }
                for s in steps
            ],
            "commands": sum(entry.kind == "exec" for entry in client.history()),
        }
    )


async def main():
    url = "sqlite:///dbos.sqlite"
    DBOS(
        config={
            "name": "surviving",
            "system_database_url": url,
            "application_version": "1",
            "executor_id": "x",
        }
    )
    DBOS.launch()
    if PHASE == "crash":
        with SetWorkflowID("run-1"):
            await surviving()
    else:
        print(await (await DBOS.retrieve_workflow_async("run-1")).get_result())
    DBOS.destroy()
    trove.close()


asyncio.run(main())
