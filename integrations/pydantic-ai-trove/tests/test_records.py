"""What is read from messages, whatever became of them."""

from dataclasses import replace

import pytest
from pydantic_ai.messages import (
    ModelRequest,
    ModelResponse,
    TextPart,
    ToolCallPart,
    ToolReturnPart,
    UserPromptPart,
)

from pydantic_ai_trove import TroveWorkspace, without_references
from pydantic_ai_trove.records import KEY, NEXT, Point, Record, record_of, standing, write


def point(version):
    return Point(f"ref-{version}", version)


def asked(record=None):
    message = ModelRequest([UserPromptPart("go")])
    if record is not None:
        write(message, record, NEXT)
    return message


def calls(*ids, record=None, key=KEY):
    message = ModelResponse([ToolCallPart("look", {}, each) for each in ids])
    if record is not None:
        write(message, record, key)
    return message


def told(*ids, state="complete"):
    return ModelRequest([ToolReturnPart("look", "", each) for each in ids], state=state)


RECORD = Record("n", "r", point(1), point(4), {"a": point(2), "b": point(3)})
OPEN = Record("n", "r", point(1), None, {"a": point(2)})
WAITS = Record("n", "r", point(1), point(4), {"a": point(2)})
"""For an approval of the other one."""
RESUMED = Record("n", "s", point(5), None, {"b": point(6)}, first=point(1))


@pytest.mark.parametrize(
    ("history", "version"),
    [
        ([], None),
        ([asked()], None),
        ([asked(), calls("a", "b")], None),
        ([asked(), calls("a", "b", record=RECORD)], 1),
        ([asked(), calls("a", "b", record=RECORD), told("a", "b")], 4),
        ([asked(), calls("a", "b", record=RECORD), told("a")], 2),
        ([asked(), calls("a", "b", record=WAITS), told("a")], 4),
        ([asked(), calls("a", "b", record=RECORD), told("a", state="interrupted")], 2),
        ([asked(), calls("a", "b", record=RECORD), told(state="interrupted")], 1),
        ([asked(), calls("a", "b", record=OPEN), told("a", "b")], 2),
        ([asked(), calls("a", "b", record=OPEN), told("a", "b"), ModelResponse([TextPart("x")])], 2),
        # gone on with after an approval: the first run had made one of the calls
        ([asked(), calls("a", "b", record=RESUMED)], 1),
        ([asked(), calls("a", "b", record=RESUMED), told("a")], 5),
        ([asked(), calls("a", "b", record=replace(RESUMED, after=point(7))), told("a")], 5),
        ([asked(), calls("a", "b", record=RESUMED), told("a", "b")], 6),
        ([asked(), calls("a", "b", record=RESUMED), told(state="interrupted")], 1),
        # noted on what came before the response
        ([asked(RECORD), calls("a", "b"), told("a", "b")], 4),
        ([calls("z", record=RECORD, key=NEXT), asked(), calls("a", "b"), told("a", "b")], 4),
        ([asked(RECORD)], 1),
        ([asked(RECORD), ModelResponse([TextPart("another response")])], 1),
        ([asked(RECORD), calls("c"), told("c")], 1),
        ([asked(Record("other", "r", point(1)))], None),
        ([asked(), calls("a", record=Record("other", "r", point(1))), told("a")], None),
    ],
)
def test_what_the_files_have_to_be(history, version):
    assert standing(history, "n") == (None if version is None else point(version))


@pytest.mark.parametrize(
    "found", [1, "x", [], {}, {"namespace": "n"}, {"namespace": "n", "run": "r", "before": 3}]
)
def test_what_others_wrote_there_says_nothing(found):
    message = ModelResponse([TextPart("x")], metadata={KEY: found})
    assert record_of(message) is None
    assert TroveWorkspace.steps([message]) == []


def test_silence():
    spoken = [asked(RECORD), calls("a", record=RECORD), told("a")]
    spoken[0].metadata["mine"] = 1
    silent = without_references(spoken)
    assert [message.metadata for message in silent] == [{"mine": 1}, None, None]
    assert silent[2] is spoken[2] and standing(silent, "n") is None
