"""The header of the step context: any text goes through it, and another implementation of RFC 9651 agrees."""

import http_sf
import pytest
from hypothesis import given
from hypothesis import strategies as st

from trove_agents.wire.steps import STEP_BYTES, Step, from_header, to_header

values = st.none() | st.text(st.characters(exclude_categories=["Cs", "Cc"]), max_size=24)
steps = st.builds(Step, thread=values, run=values, step=values, call=values)


def fits(step):
    try:
        return to_header(step)
    except ValueError as error:
        assert "512" in str(error)
        return None


@given(steps)
def test_any_text_survives(step):
    text = fits(step)
    if text is not None:
        assert text.isascii()
        assert text.isprintable()
        assert from_header(text) == step


def as_another_reads_it(text):
    found = http_sf.parse(text.encode(), tltype="dictionary")
    return {name: str(value) for name, (value, parameters) in found.items()}


@given(steps)
def test_another_implementation_reads_what_we_write(step):
    text = fits(step)
    if text:
        assert as_another_reads_it(text) == {
            name: value for name in Step.__struct_fields__ if (value := getattr(step, name)) is not None
        }


@given(
    st.dictionaries(
        st.sampled_from(Step.__struct_fields__),
        st.text(st.characters(exclude_categories=["Cs", "Cc"]), max_size=20),
    )
)
def test_we_read_what_another_implementation_writes(fields):
    if not fields:
        return
    written = http_sf.ser(
        {name: text if text.isascii() else http_sf.DisplayString(text) for name, text in fields.items()}
    )
    if len(written) <= STEP_BYTES:
        assert from_header(written) == Step(**fields)


ALPHABET = ["thread", "run", "x", "=", '"', '%"', "%c3%bc", "%C3", "\\", '\\"', ",", ", ", ";", " ", "\t", "é", "?1", "1", ":YQ==:", "a"]  # fmt: skip


@given(st.lists(st.sampled_from(ALPHABET), max_size=12).map("".join))
def test_we_take_nothing_that_another_implementation_refuses(text):
    try:
        step = from_header(text)
    except ValueError:
        return
    if step != Step():
        assert as_another_reads_it(text) == {
            name: value for name in Step.__struct_fields__ if (value := getattr(step, name)) is not None
        }


def test_what_is_written():
    assert to_header(Step("t-1", "r-7", "4", "c")) == 'thread="t-1", run="r-7", step="4", call="c"'
    assert to_header(Step(thread="für 100%")) == 'thread=%"f%c3%bcr 100%25"'
    assert to_header(Step(run='say "a\\b"')) == r'run="say \"a\\b\""'
    assert to_header(Step()) == ""


def test_what_is_read():
    assert from_header("") == from_header("  ") == Step()
    assert from_header('  thread="a"\t , step=""  ') == Step(thread="a", step="")
    assert from_header('call="%c3"') == Step(call="%c3")


@pytest.mark.parametrize(
    "text",
    [
        "thread",
        "thread=",
        "thread=a",
        "thread=1",
        "thread=?1",
        "thread=:YQ==:",
        'thread="a',
        'thread="a"b',
        'thread="a",',
        ',thread="a"',
        'thread="a" run="b"',
        'thread="a", thread="b"',
        'thread="a";p=1',
        'thread=("a" "b")',
        'thread = "a"',
        'Thread="a"',
        'user="a"',
        'thread="ü"',
        'thread="a\\b"',
        'thread="a\x00"',
        'thread=%"%00"',
        'thread=%"%0a"',
        'thread=%"%ff"',
        'thread=%"%C3%BC"',
        'thread=%"%c"',
        f'thread="{"a" * 512}"',
    ],
)
def test_what_is_refused(text):
    with pytest.raises(ValueError, match="."):
        from_header(text)


@pytest.mark.parametrize("text", ["a\nb", "\x00", "\x7f", "\x85", "\ud800", "a" * 504, "ü" * 85])
def test_what_cannot_be_written(text):
    with pytest.raises(ValueError, match="."):
        to_header(Step(thread=text))


def test_the_longest():
    assert len(to_header(Step(thread="a" * 503))) == 512
    assert from_header(to_header(Step(thread="a" * 503))) == Step(thread="a" * 503)
