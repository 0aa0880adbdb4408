import re

from hypothesis import given
from hypothesis import strategies as st

from trove_agents.tools.text import cut

NOTE = re.compile(r"\[([\d,]+) of ([\d,]+) characters left out here; [^\]]*\]\n")


def test_short_text_stays():
    assert cut("a\nb", 3) == "a\nb"


def test_beginning_and_end_are_kept_by_whole_lines():
    lines = [f"line {number}" for number in range(1_000)]
    text = cut("\n".join(lines), 500)
    note = NOTE.search(text)
    before, after = text[: note.start()].splitlines(), text[note.end() :].splitlines()
    assert before == lines[: len(before)]
    assert after == lines[-len(after) :]
    assert min(len(before), len(after)) >= 15


@given(st.text(alphabet="ab\n", max_size=400), st.integers(1, 200))
def test_what_is_kept_and_what_is_left_out_make_the_whole(text, limit):
    shown = cut(text, limit)
    if len(text) <= limit:
        assert shown == text
        return
    note = NOTE.search(shown)
    left_out, total = (int(number.replace(",", "")) for number in note.groups())
    before, after = shown[: note.start()], shown[note.end() :]
    assert total == len(text)
    assert text.endswith(after)
    assert before.removesuffix("\n") == text[: len(before.removesuffix("\n"))]
    assert len(before) + len(after) <= limit + 1
    assert left_out + len(before) + len(after) - total in {0, 1}
