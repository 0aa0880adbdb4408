"""What was paid for is not done again: the step's result is written once more, and so are the files that it left."""

import json
from collections.abc import Callable
from http import HTTPStatus
from typing import Any, Final, TypedDict, TypeVar

from langgraph_trove import flows, inside
from langgraph_trove.errors import NotBound
from langgraph_trove.flows import Ask, Clients, Flow
from langgraph_trove.holds import ahold, hold
from langgraph_trove.nodes import anew, left, node_name, recorded
from langgraph_trove.runs import here
from trove_agents import Difference, LeaseLost, TroveError, TroveNotFoundError, WorkspaceLeased
from trove_agents.guard import AlreadyPaid

R = TypeVar("R")
_FILES: Final = "__trove_files"
_KEPT: Final = "kept"
_PLAIN: Final = 0o644
"""The mode of what ``upload`` makes."""
_OTHERWISE: Final = frozenset({HTTPStatus.BAD_REQUEST, HTTPStatus.NOT_FOUND, HTTPStatus.CONFLICT})
"""What is answered where a file is meant and a directory is there, or the other way round, or a link that leads out."""


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
    """Makes the changes of a step once more; False: they do not fit any more, and the workspace may have some of them."""
    there = clients.elsewhere(files["namespace"])
    try:
        if clients.namespace == there.namespace and not (
            yield Ask(clients, lambda client: client.diff(files["after"]))
        ):
            return True
        if clients.namespace == there.namespace and not (
            yield Ask(clients, lambda client: client.diff(files["before"]))
        ):
            yield Ask(clients, lambda client: client.restore_to(files["after"]))
            return True
        changes = yield Ask(there, lambda client: client.diff(files["before"], files["after"]))
    except TroveNotFoundError:  # pruned
        return False
    try:
        for change in changes:
            if not (yield from _made_one(clients, there, files, change)):
                return False
    except TroveError as error:
        if error.status_code in _OTHERWISE and not isinstance(error, WorkspaceLeased | LeaseLost):
            return False
        raise
    return True


def _made_one(clients: Clients, there: Clients, files: Files, change: Difference) -> Flow[bool]:
    """Makes one change once more, unless another was made there since."""
    path, after = change.path, change.after
    if after is not None and after.is_dir:
        yield Ask(clients, lambda client: client.mkdir(path))
        return True
    if after is None and change.before is not None and change.before.is_dir:
        return False  # others may have put something into it
    if after is not None and after.mode != _PLAIN:
        return False  # a link, or what uploading it would not make executable
    now = yield from _content(clients, path, None)
    made = yield from _content(there, path, files["after"])
    if now == made:
        return True
    if now != (yield from _content(there, path, files["before"])):
        return False
    if after is None:
        yield Ask(clients, lambda client: client.delete(path))
    else:
        yield Ask(clients, lambda client: client.upload(path, made))
    return True


def _content(clients: Clients, path: str, at: str | None) -> Flow[bytes | None]:
    try:
        found: bytes = yield Ask(clients, lambda client: client.read_bytes(path, at=at))
    except TroveNotFoundError:
        return None
    return found
