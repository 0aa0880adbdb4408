"""Composition and rewriting, against the rule's own words and against bash."""

import codecs
import itertools
import re
import subprocess

import pytest
from hypothesis import given
from hypothesis import strategies as st

from trove_agents.server.exec.shell import Shown, compose, plain, prefix, rewrite, shown

ROOT = "/workspace"

REWRITTEN = [
    ("ls workspace/", "ls /workspace/"),
    ("ls workspace", "ls /workspace"),
    ("workspace/run.sh", "/workspace/run.sh"),
    ("cd workspace/data && ls", "cd /workspace/data && ls"),
    ("cd workspace; ls", "cd /workspace; ls"),
    ("ls\tworkspace/a\nworkspace/b", "ls\t/workspace/a\n/workspace/b"),
    ("cat 'workspace/a b'", "cat '/workspace/a b'"),
    ('cat "workspace/a b"', 'cat "/workspace/a b"'),
    ("x=`ls workspace`", "x=`ls /workspace`"),
    ("x=$(ls workspace)", "x=$(ls /workspace)"),
    ("grep --file=workspace/p .", "grep --file=/workspace/p ."),
    ("PATH=workspace/bin:workspace/b", "PATH=/workspace/bin:/workspace/b"),
    ("f(workspace/a,workspace/b)", "f(/workspace/a,/workspace/b)"),
    ("cp {workspace/a,workspace/b} x", "cp {/workspace/a,/workspace/b} x"),
    ("sort<workspace/a>workspace/b", "sort</workspace/a>/workspace/b"),
    ("a|workspace/b&workspace/c;workspace/d", "a|/workspace/b&/workspace/c;/workspace/d"),
    ("curl -d @workspace/f", "curl -d @/workspace/f"),
    ("(cd workspace)", "(cd /workspace)"),
    ("{ cd workspace; }", "{ cd /workspace; }"),
    ("rm -rf workspace/* 2>/dev/null; ls workspace/", "rm -rf /workspace/* 2>/dev/null; ls /workspace/"),
    ("workspace/workspace/x", "/workspace/workspace/x"),
    (r'python3 -c "os.listdir(\"workspace\")"', r'python3 -c "os.listdir(\"/workspace\")"'),
]
KEPT = [
    "ls ./workspace/a",
    "ls /workspace/a",
    "ls /srv/workspace/a",
    "ls my-workspace/a",
    "ls my_workspace/a",
    "ls 2workspace/a",
    "curl https://host/workspace/y",
    "curl https://host.workspace/y",
    "ls workspaces/",
    "ls workspace.txt",
    "ls workspace-old",
    "ls workspace_old",
    "workspace=1",
    "echo $workspace ${workspace} ${workspace/a/b}",
    "gcc -Iworkspace/include",
    "ls Workspace/",
]


@pytest.mark.parametrize(("text", "expected"), REWRITTEN)
def test_the_name_of_the_root_becomes_its_path(text, expected):
    assert rewrite(text, ROOT) == expected


@pytest.mark.parametrize("text", KEPT)
def test_other_words_stay(text):
    assert rewrite(text, ROOT) == text


def oracle(text):
    """The rule of wire 6.1 read aloud, one character at a time."""
    out, at, word = [], 0, "workspace"
    while at < len(text):
        if text.startswith(word, at):
            before, after = text[at - 1 : at], text[at + len(word) : at + len(word) + 1]
            starts = not before or before in " \t\n\r\f\v'\"`=:,(){<>|&;@"
            ends = not after or after in "/ \t\n\r\f\v'\"`:,)}<>|&;\\"
            if starts and ends and text[max(at - 2, 0) : at] != "${":
                out.append(ROOT)
                at += len(word)
                continue
        out.append(text[at])
        at += 1
    return "".join(out)


PIECES = st.sampled_from(
    [
        "workspace",
        "workspace/",
        "/",
        "a",
        "_",
        "-",
        ".",
        "$",
        "{",
        "}",
        "é",
        "\\",
        "*",
        *" \t\n'\"`=:,()<>|&;@",
    ]
)


@given(st.lists(PIECES, max_size=12).map("".join))
def test_the_rule_holds_for_any_text(text):
    assert rewrite(text, ROOT) == oracle(text)


SHOWN = [
    ("/workspace\n", "workspace\n"),
    ("/workspace/a\n/workspace/b", "workspace/a\nworkspace/b"),
    ("https://x/workspace/y", "https://x/workspace/y"),
    ("/srv/workspace/y", "/srv/workspace/y"),
    ("~/workspace/y ${HOME}/workspace", "~/workspace/y ${HOME}/workspace"),
    (
        "/workspaces /workspace-old /workspace.bak /workspace_x",
        "/workspaces /workspace-old /workspace.bak /workspace_x",
    ),
    ("saved in /workspace. done", "saved in workspace. done"),
    ("ls: cannot access '/workspace/x': No", "ls: cannot access 'workspace/x': No"),
    ("a=/workspace:/workspace/b", "a=workspace:workspace/b"),
    ("/workspace/workspace/x", "workspace/workspace/x"),
    ("é/workspace", "é/workspace"),
    ("", ""),
]


@pytest.mark.parametrize(("text", "expected"), SHOWN)
def test_output_calls_the_root_by_its_name(text, expected):
    assert shown(text.encode(), ROOT) == expected


def test_a_folder_of_the_host_is_hidden_wherever_it_stands():
    root = "/var/lib/x/copies/0/3f2a9c"
    assert (
        shown(f"-I{root}/inc file://{root}/a {root} {root}0".encode(), root)
        == f"-Iworkspace/inc file://workspace/a workspace {root}0"
    )


def test_output_that_is_not_utf8_is_text_all_the_same():
    assert shown(b"a\xff\xfe /workspace", ROOT) == "a\ufffd\ufffd workspace"
    euro = "€".encode()
    assert shown(b"x" + euro[:2], ROOT, cut=True) == "x"
    assert shown(b"x" + euro[:2], ROOT) == "x\ufffd"


def test_paths_that_bash_leaves_alone():
    assert plain("/workspace") and plain("/var/lib/x-y_z/0/3f.a")
    assert not any(map(plain, ["/My Files/x", "/a$b", "/a'b", "/a*b", "/a\\1", "/é", "/a\n"]))


@given(st.text(), st.integers(0, 20))
def test_a_prefix_is_whole_characters(text, size):
    got = prefix(text, size)
    assert text.startswith(got) and len(got.encode()) <= size
    assert len(got) == len(text) or len(text[: len(got) + 1].encode()) > size


# Against bash itself, with the working directory as the root


def bash(tmp_path, command, init=None, stdin=None):
    root = str(tmp_path)
    done = subprocess.run(
        ["bash", "-c", compose(command, init, root)],
        cwd=root,
        input=stdin,
        capture_output=True,
        timeout=20,
        stdin=subprocess.DEVNULL if stdin is None else None,
    )
    return done.returncode, shown(done.stdout, root), shown(done.stderr, root, init=init is not None)


def test_all_the_ways_to_name_the_root(tmp_path):
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "a.txt").write_text("x")
    code, out, err = bash(
        tmp_path, "ls workspace/ && cd workspace/data && ls && cat workspace/data/a.txt && pwd"
    )
    assert (code, out, err) == (0, "data\na.txt\nxworkspace/data\n", "")
    assert bash(tmp_path, "find workspace/ -name '*.txt'")[1] == "workspace/data/a.txt\n"
    assert bash(tmp_path, "pwd")[1] == "workspace\n"
    assert bash(tmp_path, "rm -rf workspace/* 2>/dev/null; ls workspace/") == (0, "", "")


def test_init_sets_up_the_shell_of_the_command(tmp_path):
    (tmp_path / "data").mkdir()
    init = "cd workspace/data\nexport A='it\\'s'\nf() { echo \"f:$1\"; }\nB=2\n# trailing comment"
    init = init.replace("'it\\'s'", '"it\'s"')
    code, out, err = bash(tmp_path, "pwd; echo $A $B; f x; ls workspace/; bash -c 'echo $A'", init)
    assert (code, out, err) == (0, "workspace/data\nit's 2\nf:x\ndata\nit's\n", "")


def test_init_leaves_stdin_to_the_command(tmp_path):
    assert bash(tmp_path, "cat", "cat\nset -e\nfalse\n", b"mine") == (0, "mine", "")
    assert bash(tmp_path, "cat", "cat", b"") == (0, "", "")


@pytest.mark.parametrize(
    "init",
    [
        "cd nowhere",
        "false",
        "if then",
        "echo 'unbalanced",
        "nosuchprogram",
        ". ./missing",
        "set -e\nfalse",
        "return 3",
        "(exit 9)",
        "cat <<EOF\nnever ended",
        "echo x \\",
    ],
)
def test_errors_of_init_do_not_touch_the_result(tmp_path, init):
    code, out, _err = bash(tmp_path, "echo ran $?", init)
    assert (code, out.splitlines()[-1]) == (0, "ran 0")
    assert bash(tmp_path, "exit 4", init)[0] == 4


def test_messages_about_init_name_it(tmp_path):
    _, _, err = bash(tmp_path, "true", "true\nnosuchprogram")
    assert err == "workspace/.trove/init.sh: line 2: nosuchprogram: command not found\n"


def test_return_ends_init_and_exit_ends_the_shell(tmp_path):
    assert bash(tmp_path, "echo ran", "echo one\nreturn\necho two")[1] == "one\nran\n"
    assert bash(tmp_path, "echo ran", "echo one\nexit 7")[:2] == (7, "one\n")


def test_options_of_init_hold_for_the_command(tmp_path):
    assert bash(tmp_path, "false; echo not reached", "set -e")[:2] == (1, "")
    assert bash(tmp_path, "ll", "shopt -s expand_aliases\nalias ll='echo alias'")[1] == "alias\n"
    assert bash(tmp_path, "true", "trap 'echo bye' EXIT")[1] == "bye\n"


@pytest.mark.parametrize(
    "command",
    [
        "echo 'unbalanced",
        'echo "x',
        "echo )",
        "if true; then",
        "}; echo out",
        "echo a && ",
        "done",
        "$(",
        "`",
        "case x in",
    ],
)
def test_the_commands_own_syntax_errors_are_bashs(tmp_path, command):
    native = subprocess.run(["bash", "-c", command], cwd=tmp_path, capture_output=True, timeout=20)
    assert native.returncode == 2
    for init in (None, "true", "A='\nB"):
        code, out, err = bash(tmp_path, command, init)
        assert (code, out) == (2, "") and "bash: -c: line" in err


@pytest.mark.parametrize(
    "command",
    [
        "echo a # comment",
        "echo a \\",
        "cat <<E\na\nE",
        "cat <<E\na",
        "echo a;",
        "echo a &",
        "echo \\'a\\'; exit 3",
        "\n\n echo a\n",
        "echo '\\n\\0'",
        "echo $'a\\tb'",
        'set -- 1 2; echo $# "$@"',
        "false",
        "kill -9 $$",
        "exec echo a",
        "echo é $((1+1))",
    ],
)
def test_any_command_means_what_it_means_alone(tmp_path, command):
    native = subprocess.run(["bash", "-c", command], cwd=tmp_path, capture_output=True, timeout=20)
    for init in (None, "A=1"):
        code, out, _ = bash(tmp_path, command, init)
        assert (code, out) == (native.returncode, native.stdout.decode())


@given(st.text(st.characters(codec="utf-8"), max_size=40))
def test_any_text_survives_the_way_into_init(text):
    script = compose("", text, ROOT)
    body = script.removesuffix(" </dev/null || true\n").partition("<<<")[2]
    got = subprocess.run(
        ["bash", "-c", f"printf %s {body}"], capture_output=True, timeout=20, env={"LC_ALL": "C.UTF-8"}
    ).stdout
    assert got.decode() == rewrite(text, ROOT).replace("\0", "")


# Output that comes in pieces

HOST = "/srv/state/copies/0/abc"
WORDS = [
    HOST,
    ROOT,
    "/dev/fd/61: ",
    "/dev/fd/61",
    ": ",
    "/",
    ".",
    "-",
    "x",
    " ",
    "\n",
    "é",
    "workspace",
    "~",
    "line 1: ",
]


@pytest.mark.parametrize("root", [ROOT, HOST])
@given(data=st.data())
def test_pieces_are_shown_as_the_whole_is(root, data):
    def mangled(words):
        text = "".join(words).encode()
        return [text, text[: len(text) // 2], text[1:], text + b"\xc3"]

    words = st.lists(st.sampled_from(WORDS), max_size=12)
    output = data.draw(st.one_of(words.map(mangled).flatmap(st.sampled_from), st.binary(max_size=20)))
    cuts = sorted(data.draw(st.lists(st.integers(0, len(output)), max_size=8)))
    init, cut = data.draw(st.booleans()), data.draw(st.booleans())
    pieces = Shown(root, init=init)
    ends = [0, *cuts, len(output)]
    found = [pieces.feed(output[a:b]) for a, b in itertools.pairwise(ends)]
    assert "".join(found) + pieces.end(cut=cut) == shown_at_once(output, root, cut=cut, init=init)


def shown_at_once(output, root, *, cut, init):
    """The rule in one expression."""
    text = codecs.utf_8_decode(output, "replace", not cut)[0]
    start = r"(?<![\w./~}-])" if root == ROOT else ""
    text = re.sub(start + re.escape(root) + r"(?![\w-]|\.[\w.-])", "workspace", text)
    return text.replace("/dev/fd/61: ", "workspace/.trove/init.sh: ") if init else text


@pytest.mark.parametrize(
    ("given", "shown_now"),
    [
        (b"building...", "building..."),
        (b"50%\r", "50%\r"),
        (b"at /workspace/a\n", "at workspace/a\n"),
        (b"at /workspace", "at "),
        (b"at /workspace/aaaaaaaaaaaa", "at workspace/aaaaaaaaaaaa"),
        (b"1/2 done", "1/2 done"),
        (b"\xc3", ""),
    ],
)
def test_only_what_may_be_a_path_is_held_back(given, shown_now):
    assert Shown(ROOT).feed(given) == shown_now
