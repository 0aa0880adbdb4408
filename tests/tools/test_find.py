import pytest

from trove_agents import TroveNotFoundError
from trove_agents.tools import InvalidArguments


@pytest.fixture
def tree(client):
    for path, text in {
        "a.py": "import b\n",
        "src/b.py": "def b():\n    return 'x:1'\n",
        "src/deep/c.py": "B = 1\n",
        "src/deep/notes.md": "b\n",
        ".git/config": "b\n",
    }.items():
        client.write(path, text)


@pytest.mark.usefixtures("tree")
def test_list(use):
    assert use("list", path="src").text == "workspace/src/deep/\nworkspace/src/b.py (26 bytes)"
    result = use("list", recursive=True)
    assert "workspace/src/deep/c.py (6 bytes)" in result.text
    assert result.plain["entries"][0]["path"] == "workspace/.git"
    assert (result.plain["path"], result.plain["truncated"]) == ("workspace", False)
    assert use("list", max_characters=20).text == "workspace/.git/\n[there are more: ask for less]"
    with pytest.raises(TroveNotFoundError):
        use("list", path="nowhere")


def test_list_of_nothing(client, use):
    client.mkdir("empty")
    assert use("list", path="empty").text == "(empty)"


@pytest.mark.usefixtures("tree")
@pytest.mark.parametrize(
    ("pattern", "path", "paths"),
    [
        ("*.py", "workspace/", ["src/deep/c.py", "src/b.py", "a.py"]),
        ("**/*.py", "workspace/", ["src/deep/c.py", "src/b.py", "a.py"]),
        ("src/*.py", "workspace/", ["src/b.py"]),
        ("deep/*", "src", ["src/deep/c.py", "src/deep/notes.md"]),
        ("/workspace/*.py", "workspace/", ["a.py"]),
        ("workspace/src/**/*.md", "src/", ["src/deep/notes.md"]),
        ("de?p", "/workspace/src", ["src/deep/"]),
        ("*.txt", "workspace/", []),
    ],
)
def test_glob(use, pattern, path, paths):
    text = "\n".join(f"workspace/{each}" for each in paths) or "(nothing matches)"
    assert use("glob", pattern=pattern, path=path).text == text


@pytest.mark.parametrize("pattern", ["!a", "/", "//"])
def test_what_is_no_pattern(client, use, pattern):
    client.write("a", "")
    with pytest.raises(InvalidArguments, match="is no pattern"):
        use("glob", pattern=pattern)


def test_glob_looks_through_all_pages(client, use):
    client.exec("mkdir d; cd d; seq -f '%04g.txt' 1500 | xargs touch")
    result = use("glob", pattern="*9.txt")
    assert (len(result.value.entries), result.value.truncated) == (150, False)
    result = use("glob", pattern="*.txt")
    assert (len(result.value.entries), result.value.truncated) == (1_000, True)


@pytest.mark.usefixtures("tree")
@pytest.mark.parametrize(
    ("arguments", "lines"),
    [
        ({"pattern": "x:[0-9]"}, ["src/b.py:2:    return 'x:1'"]),
        ({"pattern": "^b$"}, ["src/deep/notes.md:1:b"]),
        (
            {"pattern": "^b", "ignore_case": True, "path": "src/deep"},
            ["src/deep/c.py:1:B = 1", "src/deep/notes.md:1:b"],
        ),
        ({"pattern": "b", "glob": "*.md"}, ["src/deep/notes.md:1:b"]),
        ({"pattern": "import", "path": "/workspace/a.py"}, ["a.py:1:import b"]),
        ({"pattern": "-nothing"}, []),
    ],
)
def test_grep(use, arguments, lines):
    text = use("grep", **arguments).text
    assert sorted(text.splitlines()) == sorted(f"workspace/{each}" for each in lines) or (
        not lines and text == "(nothing matches)"
    )


@pytest.mark.usefixtures("tree")
def test_grep_where_the_init_script_goes_elsewhere(client, use):
    client.set_init("cd workspace/src; echo noise")
    assert use("grep", pattern="import").text == "workspace/a.py:1:import b"


@pytest.mark.usefixtures("tree")
@pytest.mark.parametrize("arguments", [{"pattern": "("}, {"pattern": "b", "path": "nowhere"}])
def test_what_cannot_be_searched(use, arguments):
    with pytest.raises(InvalidArguments, match="grep: "):
        use("grep", **arguments)


def test_grep_of_more_than_is_told(client, use):
    client.write("a.txt", "match " + "x" * 1_000 + "\n" + "match\n" * 1_500)
    result = use("grep", pattern="match")
    assert (len(result.value.matches), result.value.truncated) == (1_000, True)
    assert len(result.value.matches[0].text) == 500
    assert result.text.endswith("[there are more: ask for less]")
