import pytest

from trove_agents import TroveError, TroveTimeoutError, WorkspaceLeased
from trove_agents.tools import CATALOG, ToolContext, run_telling
from trove_agents.tools.bash import CommandRun, render


@pytest.mark.parametrize(
    ("result", "text"),
    [
        (CommandRun(0, "a\nb\n", "", 1), "a\nb"),
        (CommandRun(0, "", "", 1), "(no output)"),
        (CommandRun(0, "\n", "", 1), "(no output)"),
        (
            CommandRun(0, "0\n", "cat: x: No such file or directory\n", 1),
            "0\ncat: x: No such file or directory",
        ),
        (CommandRun(1, "", "", 1), "[exit 1]"),
        (CommandRun(2, "out\n", "err\n", 1), "[exit 2]\nerr\nout"),
        (CommandRun(139, "out", "", 1), "[exit 139]\nout"),
        (CommandRun(0, "  kept \n\n", "", 1), "  kept \n"),
    ],
)
def test_text_for_the_model(result, text):
    assert render(result, 1_000) == text


def test_what_was_lost_is_said_even_where_output_is_cut():
    result = CommandRun(
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
    text = render(CommandRun(1, "x\n" * 50_000, "the reason\n", 1), 1_000)
    assert text.startswith("[exit 1]\nthe reason\nx\n")
    assert len(text) < 1_300


def bash(client, command, **options):
    return client.run(CATALOG["bash"].call({"command": command}, ToolContext(**options)))


def changed(result):
    return [(each.path, each.change) for each in result.value.files_changed]


def test_what_a_command_changed(client):
    assert changed(bash(client, "mkdir d; echo 1 > a; echo 2 > d/b")) == [
        ("workspace/a", "added"),
        ("workspace/d/b", "added"),
    ]
    assert changed(bash(client, "rm a; echo 3 >> d/b; echo 4 > d/c")) == [
        ("workspace/a", "removed"),
        ("workspace/d/b", "changed"),
        ("workspace/d/c", "added"),
    ]
    result = bash(client, "cat d/b")
    assert (changed(result), result.plain["files_changed"]) == ([], [])


def test_more_changes_than_are_told(client, tool_trove):
    client.write("there", "")
    result = bash(client, "seq 1200 | xargs touch")
    assert (len(result.value.files_changed), result.value.more_changed) == (1_000, True)
    fresh = bash(tool_trove.client("many-at-first"), "seq 1200 | xargs touch")
    assert (len(fresh.value.files_changed), fresh.value.more_changed) == (1_000, True)


def test_changes_need_not_be_looked_for(client):
    assert bash(client, "echo 1 > a", changes=False).value.files_changed is None


def test_long_output_is_kept_where_it_can_be_read(client):
    result = bash(client, "seq 5000", max_characters=1_000)
    path = result.value.output_path
    assert f"characters left out here; all of it is in {path}]" in result.text
    assert client.read_text(path) == "".join(f"{number}\n" for number in range(1, 5_001))
    assert result.value.stdout == client.read_text(path)
    assert (result.plain["truncated"], result.plain["output_path"]) == (True, path)
    assert not {"stdout", "stderr"} & set(result.plain)
    before = len(list(client.history()))
    assert bash(client, "seq 5000", max_characters=1_000).value.output_path == path
    assert len(client.list_dir("workspace/.trove/output")) == 1
    assert bash(client, "true").value.files_changed == []
    assert len(list(client.history())) - before <= 1


def test_output_that_cannot_be_kept_is_no_failure(client, tool_trove):
    client.write("a", "")
    with tool_trove.admin() as admin:
        admin.set_quota(client.namespace, max_files=1)
    result = bash(client, "seq 5000", max_characters=1_000)
    assert (result.value.output_path, result.plain["truncated"]) == (None, True)
    assert "to see them, write the output to a file" in result.text
    assert "stdout" in result.plain


def test_a_lease_of_another_is_the_commands_to_tell(client):
    with client.lease(), pytest.raises(WorkspaceLeased):
        bash(client, "true")


def test_a_command_may_be_given_another_time(client, use):
    assert use("bash", command="echo hi", timeout=300).text == "hi"
    with pytest.raises(TroveTimeoutError):
        use("bash", command="sleep 60", timeout=0.2)
    with pytest.raises(TroveTimeoutError):
        run_telling(client, CATALOG["bash"], {"command": "sleep 60", "timeout": 0.2}, ToolContext(), print)
    with pytest.raises(TroveError) as caught:
        use("bash", command="true", timeout=1e6)
    assert caught.value.recovery == "fix-arguments"
