"""The asynchronous clients offer what the synchronous ones do, method for method."""

import inspect
import re

import pytest

from trove_agents import (
    AsyncTroveAdminClient,
    AsyncTroveClient,
    AsyncWalletClient,
    TroveAdminClient,
    TroveClient,
    WalletClient,
)
from trove_agents.client import clients, drive

PAIRS = [
    (TroveClient, AsyncTroveClient),
    (TroveAdminClient, AsyncTroveAdminClient),
    (WalletClient, AsyncWalletClient),
]
ASYNC_NAMES = {"close": "aclose", "__enter__": "__aenter__", "__exit__": "__aexit__"}


def methods(kind: type) -> set[str]:
    special = {"__init__", "__repr__", "__enter__", "__exit__", "__aenter__", "__aexit__"}
    return {
        name
        for name in dir(kind)
        if (name in special and name in {n for c in kind.__mro__[:-1] for n in vars(c)})
        or not name.startswith("_")
    }


CASES = [
    pytest.param(sync, other, name, id=f"{sync.__name__}.{name}")
    for sync, other in PAIRS
    for name in sorted(methods(sync))
]


@pytest.mark.parametrize(("sync", "other"), PAIRS)
def test_both_have_the_same_methods(sync: type, other: type) -> None:
    assert {ASYNC_NAMES.get(name, name) for name in methods(sync)} == methods(other)


def normal(annotation: object) -> str:
    """An annotation as the synchronous side writes it."""
    text = annotation if isinstance(annotation, str) else inspect.formatannotation(annotation)
    # What only the asynchronous side can take, it takes besides
    text = re.sub(r" \| collections.abc.AsyncIterable\[bytes\]", "", text)
    text = re.sub(r"collections\.abc\.Awaitable\[(~?\w+)\]", r"\1", text)
    return re.sub(r"\bAsync(?=[A-Z])", "", text).replace("trove_agents.client.upload.", "")


@pytest.mark.parametrize(("sync", "other", "name"), CASES)
def test_signatures_agree(sync: type, other: type, name: str) -> None:
    ours = inspect.signature(getattr(sync, name))
    theirs = inspect.signature(getattr(other, ASYNC_NAMES.get(name, name)))
    assert list(ours.parameters) == list(theirs.parameters)
    for parameter, twin in zip(ours.parameters.values(), theirs.parameters.values(), strict=True):
        assert (parameter.kind, parameter.default) == (twin.kind, twin.default)
        assert normal(parameter.annotation) == normal(twin.annotation)
    assert normal(ours.return_annotation) == normal(theirs.return_annotation)


@pytest.mark.parametrize(("sync", "other", "name"), CASES)
def test_the_asynchronous_one_is_awaited_and_refers_to_the_full_text(
    sync: type, other: type, name: str
) -> None:
    ours, theirs = getattr(sync, name), getattr(other, ASYNC_NAMES.get(name, name))
    assert not inspect.iscoroutinefunction(ours)
    assert not inspect.isasyncgenfunction(ours)
    if name in {
        "stream",
        "with_step",
        "with_references",
        "with_idempotency_key",
        "for_namespace",
        "lease",
        "__init__",
        "__repr__",
    }:
        pass
    elif inspect.isgeneratorfunction(ours):
        assert inspect.isasyncgenfunction(theirs)
    else:
        assert inspect.iscoroutinefunction(theirs)
    if name.startswith("__"):
        return
    assert len(ours.__doc__) >= 20
    reference = re.search(
        r":meth:`(Driver|TroveClient|TroveAdminClient|WalletClient)\.(\w+)`", theirs.__doc__
    )
    assert reference is not None
    assert getattr(vars(drive).get(reference[1]) or vars(clients)[reference[1]], reference[2]) == ours
