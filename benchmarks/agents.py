"""What runs and steps of Pydantic AI cost with a workspace or a wallet, beside the same agent without.

A step is a request to a model that answers at once, and the call of the tool that it asks for. Steps are timed by runs of
ten, less a run without any.
"""

import asyncio
import contextlib
import itertools
from collections.abc import Callable
from decimal import Decimal
from pathlib import Path
from typing import Any

import sample
from floors import Posix, Sqlite
from ours import NAMESPACE, Ours
from pydantic_ai import Agent, RunContext
from pydantic_ai.capabilities import AbstractCapability
from pydantic_ai.messages import ModelMessage, ModelResponse, TextPart, ToolCallPart
from pydantic_ai.models.function import AgentInfo, FunctionModel
from race import Step, Timing, race
from report import Row, added

from pydantic_ai_trove import TroveWallet, TroveWorkspace
from trove_agents.embedded import Trove
from trove_agents.guard import AsyncGuard

SECTION = "Pydantic AI, "
"""What its sections begin with."""
PLAIN = "the agent alone"
GUARD = "the guard alone"
STEPS = 10
AIM = 5_000.0
"""Microseconds more, for a step."""
USD = Decimal("0.001")
Say = Callable[[str], None]


def rows(folder: Path, files: int, turns: int, say: Say) -> list[Row]:
    """Those of a workspace with so many files."""
    section = f"{SECTION}{files:,} files"
    numbers = itertools.count()

    async def work(ctx: RunContext) -> str:
        """Looks at nothing."""
        return "nothing"

    async def write_plain(ctx: RunContext) -> str:
        """Writes a file of a plain folder."""
        posix.write(next(numbers))
        return "written"

    async def write(ctx: RunContext) -> str:
        """Writes a file of the workspace."""
        number = next(numbers)
        await ctx.workspace.write_text(sample.scattered(number, files), sample.content(number, "ours"))
        return "written"

    with contextlib.ExitStack() as stack:
        ours, posix = Ours(folder, files), Posix(folder, files)
        stack.callback(ours.close)
        wait = stack.enter_context(asyncio.Runner()).get_loop().run_until_complete
        client = ours.trove.async_client(NAMESPACE)

        floor = Sqlite(folder, 1)
        stack.callback(floor.close)
        commits = {"SQLite commit": lambda turn: [floor.commit(number) for number in range(STEPS)]}
        mine = [TroveWorkspace(client, tools=())]

        idle, times = _steps(turns, wait, {PLAIN: (work, []), "ours": (work, mine)}, commits)
        found = [
            added(section, "start and end of a run", idle, to=PLAIN),
            added(section, "step, no change", times, to=PLAIN, within=AIM),
        ]
        _, times = _steps(turns, wait, {PLAIN: (write_plain, []), "ours": (write, mine)}, commits)
        found.append(added(section, "step, 1 file changed", times, to=PLAIN))
    for row in found:
        say(f"{row.operation}: {row.figure} more, {row.ratio:.2f}x {row.floor}")
    return found


def paid(folder: Path, turns: int, say: Say) -> list[Row]:
    """What a call of a paid tool takes more than one that is free. Wallet and journal are on the disk."""

    async def work(ctx: RunContext) -> str:
        """Costs nothing but money."""
        return "done"

    async def nothing() -> str:
        return "done"

    with Trove.local(folder / "state") as trove, asyncio.Runner() as runner:
        wait = runner.get_loop().run_until_complete
        wallet = wait(trove.async_wallet("bench", budget_usd=1_000_000))
        guard = AsyncGuard(wallet, journal=folder / "payments.db")

        def alone(turn: int) -> None:
            for number in range(STEPS):
                wait(guard.pay(nothing, USD, key=f"{turn}-{number}", tool="work", arguments={}))

        _, times = _steps(
            turns,
            wait,
            {PLAIN: (work, []), "ours": (work, [TroveWallet(guard, {"work": USD})])},
            {GUARD: alone},
        )
        wait(guard.aclose())
    row = added(f"{SECTION}paid tools", "a paid call in Pydantic AI", times, to=PLAIN, within=AIM)
    say(f"{row.operation}: {row.figure} more, {row.ratio:.2f}x {row.floor}")
    return [row]


def _steps(
    turns: int,
    wait: Callable[[Any], Any],
    agents: dict[str, tuple[Callable[..., Any], list[AbstractCapability[Any]]]],
    others: dict[str, Step] | None = None,
) -> tuple[dict[str, Timing], dict[str, Timing]]:
    """Of runs without a step, and of one step.

    Args:
        turns: Runs of each agent.
        wait: Runs something in the loop.
        agents: By name: the tool that is called with each step, and what the agent has besides.
        others: What does something ``STEPS`` times in another way.
    """

    def run(steps: int, tool: Callable[..., Any], capabilities: list[AbstractCapability[Any]]) -> Step:
        agent = Agent(_model(steps, tool.__name__), tools=[tool], capabilities=capabilities)
        return lambda turn: wait(agent.run("go"))

    times = race(
        turns,
        {
            **{(name, 0): run(0, *made) for name, made in agents.items()},
            **{(name, STEPS): run(STEPS, *made) for name, made in agents.items()},
            **{(name, STEPS): other for name, other in (others or {}).items()},
        },
        warm_up=2,
    )
    idle = {name: taken for (name, steps), taken in times.items() if not steps}
    each = {name: _each(taken, idle.get(name)) for (name, steps), taken in times.items() if steps}
    return idle, each


def _each(whole: Timing, idle: Timing | None) -> Timing:
    """One step of those that a run has more than another."""
    less = Timing(0, 0, 0, 0) if idle is None else idle
    return Timing(
        (whole.median - less.median) / STEPS,
        (whole.p99 - less.median) / STEPS,
        whole.turns,
        (whole.processor - less.processor) / STEPS,
    )


def _model(steps: int, tool: str) -> FunctionModel:
    async def answer(messages: list[ModelMessage], info: AgentInfo) -> ModelResponse:
        turn = sum(isinstance(message, ModelResponse) for message in messages)
        if turn == steps:
            return ModelResponse([TextPart("done")])
        return ModelResponse([ToolCallPart(tool, {}, f"call-{turn}")])

    return FunctionModel(answer)
