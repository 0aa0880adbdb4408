"""What was paid for is not done again: the step's result is written once more, and so are the files that it left."""

import json
from collections.abc import Callable
from typing import Any, Final, TypedDict, TypeVar

from langgraph_trove import flows, inside
from langgraph_trove.errors import NotBound
from langgraph_trove.flows import Ask, Clients, Flow
from langgraph_trove.holds import ahold, hold
from langgraph_trove.nodes import anew, left, node_name, recorded
from langgraph_trove.runs import here
from trove_agents import TroveNotFoundError
from trove_agents.guard import AlreadyPaid, again

R = TypeVar("R")
_FILES: Final = "__trove_files"
_KEPT: Final = "kept"


class Files(TypedDict):
    """What a step worked on, as JSON: two references, and whose."""

    namespace: str
    before: str
    after: str


def with_files(kept: Any) -> Any:
    """What is kept of a step's result, as JSON; if the step has just worked in the workspace, with what it left there."""
    try:
        run, config = here()
    except NotBound:
        return kept
    there = run.recorded.get(inside.task_of(config))
    if there is None or there.before["reference"] == there.after["reference"]:
        return kept
    before, after = there.before, there.after
    files: Files = {
        "namespace": after["namespace"],
        "before": before["reference"],
        "after": after["reference"],
    }
    return {_FILES: files, _KEPT: kept}


def repeat(paid: AlreadyPaid, result: Callable[[Any], R]) -> R:
    """The result of what was paid for. If files belong to it, the workspace has them, and what it is then is recorded with
    the result: each file that the step changed is as the step left it.

    Args:
        paid: What the guard said.
        result: Makes the result of what was kept.

    Raises:
        AlreadyPaid: nothing was kept, or one of the files is not what it was before the step, or cannot be made again.
    """
    kept, files = _parts(paid)
    if files is None:
        return result(kept)
    run, config = here()
    name = node_name(config)
    with hold(run, name) as held:
        flows.run(anew(held, config))
        if not flows.run(made_again(held.clients, files)):
            raise paid
        found = flows.run(left(held, config))
    told: R = recorded(config, name, result(kept), found)
    return told


async def arepeat(paid: AlreadyPaid, result: Callable[[Any], R]) -> R:
    """As ``repeat``."""
    kept, files = _parts(paid)
    if files is None:
        return result(kept)
    run, config = here()
    name = node_name(config)
    async with ahold(run, name) as held:
        await flows.arun(anew(held, config))
        if not await flows.arun(made_again(held.clients, files)):
            raise paid
        found = await flows.arun(left(held, config))
    told: R = recorded(config, name, result(kept), found)
    return told


def _parts(paid: AlreadyPaid) -> tuple[Any, Files | None]:
    if paid.result is None:
        raise paid
    kept = json.loads(paid.result)
    return (kept[_KEPT], kept[_FILES]) if isinstance(kept, dict) and _FILES in kept else (kept, None)


def made_again(clients: Clients, files: Files) -> Flow[bool]:
    """Makes the changes of a step once more; False: they do not fit any more."""
    there, span = clients.elsewhere(files["namespace"]), again.Span(files["before"], files["after"])
    try:
        if clients.namespace == there.namespace and (
            yield Ask(clients, lambda client: client.run(again.at_once(span)))
        ):
            return True
        changes = yield Ask(there, lambda client: client.run(again.changes([span])))
    except TroveNotFoundError:  # pruned
        return False
    return not (yield Ask(clients, lambda client: client.run(again.make(changes))))
