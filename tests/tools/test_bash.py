import pytest

from trove_agents import ExecResult
from trove_agents.tools.bash import render


@pytest.mark.parametrize(
    ("result", "text"),
    [
        (ExecResult(0, "a\nb\n", "", 1), "a\nb"),
        (ExecResult(0, "", "", 1), "(no output)"),
        (ExecResult(0, "\n", "", 1), "(no output)"),
        (
            ExecResult(0, "0\n", "cat: x: No such file or directory\n", 1),
            "0\ncat: x: No such file or directory",
        ),
        (ExecResult(1, "", "", 1), "[exit 1]"),
        (ExecResult(2, "out\n", "err\n", 1), "[exit 2]\nerr\nout"),
        (ExecResult(139, "out", "", 1), "[exit 139]\nout"),
        (ExecResult(0, "  kept \n\n", "", 1), "  kept \n"),
    ],
)
def test_text_for_the_model(result, text):
    assert render(result, 1_000) == text


def test_what_was_lost_is_said_even_where_output_is_cut():
    result = ExecResult(
        0,
        "x" * 5_000,
        "",
        1,
        stdout_truncated=True,
        warnings=["workspace/pipe is no regular file and was not kept"],
        conflicts=["workspace/a.txt"],
    )
    lines = render(result, 100).splitlines()
    assert lines[-3:] == [
        "[stdout was longer than the server keeps: the rest of it is lost]",
        "[workspace/pipe is no regular file and was not kept]",
        "[workspace/a.txt was changed by someone else meanwhile; this command's version replaced theirs]",
    ]


def test_errors_stay_in_view_when_output_is_long():
    text = render(ExecResult(1, "x\n" * 50_000, "the reason\n", 1), 1_000)
    assert text.startswith("[exit 1]\nthe reason\nx\n")
    assert len(text) < 1_300
