import pytest
from hypothesis import given
from hypothesis import strategies as st

from trove_agents.server import paths
from trove_agents.server.errors import BadRequest
from trove_agents.wire import names


@pytest.mark.parametrize(
    ("text", "path"),
    [
        ("", ""),
        ("/", ""),
        ("workspace", ""),
        ("workspace/", ""),
        ("/workspace//workspace/", ""),
        ("a", "a"),
        ("workspace/a/b", "a/b"),
        ("workspace/workspace/a", "a"),
        ("/a//./b/", "a/b"),
        ("a/workspace/b", "a/workspace/b"),
        ("workspaces/a", "workspaces/a"),
        (".trove/init.sh", ".trove/init.sh"),
        ("100%.txt", "100%.txt"),
        ("a..b/..c/d..", "a..b/..c/d.."),
        ("back\\slash", "back\\slash"),
    ],
)
def test_canonical(text, path):
    assert paths.canonical(text) == path


@pytest.mark.parametrize(
    "text",
    [
        "..",
        "../a",
        "a/../b",
        "a/..",
        "workspace/../x",
        "a\\..\\b",
        "..\\x",
        "a\0b",
        "a\nb",
        "a\x7f",
        "a\x80",
        "a\x9bm",
        "a" * 256,
        "a/" * 2100 + "a",
    ],
)
def test_refused(text):
    with pytest.raises(BadRequest):
        paths.canonical(text)


@pytest.mark.parametrize("text", ["", "/", "workspace", "workspace/", "./workspace/."])
def test_the_root_is_no_file(text):
    with pytest.raises(BadRequest):
        paths.below_root(text)


@pytest.mark.parametrize("hidden", [b"..", b"\x00", b"\n", b"/../x"])
def test_nothing_is_smuggled_in_the_escapes_of_names(hidden):
    """U+F780 to U+F7FF stand for the bytes 0x80 to 0xFF only: no separator, dot or NUL can be written with them."""
    text = "a/" + "".join(chr(0xF700 + byte) for byte in hidden)
    assert paths.canonical(text) == text  # below U+F780 the characters are just characters


@given(st.text(max_size=60))
def test_canonical_is_stable_and_stays_below_the_root(text):
    try:
        path = paths.canonical(text)
    except BadRequest:
        return
    assert paths.canonical(names.to_wire(path)) == path
    assert not path.startswith("/")
    assert not {"", ".", ".."} & set(path.split("/")) or path == ""
    assert path.split("/")[0] != "workspace"


@given(st.binary(min_size=1, max_size=30))
def test_names_that_are_not_utf8_go_over_the_wire_and_back(name):
    path = names.from_bytes(name)
    wire = names.to_wire(path)
    wire.encode()  # JSON can carry it
    assert names.to_bytes(names.from_wire(wire)) == name
