import pytest
from hypothesis import given
from hypothesis import strategies as st

from trove_agents.tools import namespace_of
from trove_agents.wire import namespaces


@pytest.mark.parametrize("name", ["a", "thread_1", "0192f0c4-77a1-7b6e-9d0c-1c2d3e4f5a6b", "x" * 128])
def test_what_can_be_a_namespace_is_its_own(name):
    assert namespace_of(name) == name


def test_anything_else_keeps_what_people_can_read():
    made = namespace_of("user:42/Größe?")
    assert made.startswith("user-42-Gr-e-")
    assert namespaces.valid(made)
    assert namespaces.valid(namespace_of("日本"))


def test_nobody_can_ask_for_the_namespace_of_another():
    made = namespace_of("a b")
    assert namespace_of(made) != made


def test_a_forgotten_id_is_an_error():
    with pytest.raises(ValueError, match="without an id"):
        namespace_of("")


texts = st.text(min_size=1, max_size=200) | st.text("ab-/", min_size=1, max_size=4)


@given(st.lists(texts | texts.map(namespace_of), min_size=2, max_size=20, unique=True))
def test_every_id_has_a_namespace_of_its_own(ids):
    made = [namespace_of(each) for each in ids]
    assert all(map(namespaces.valid, made))
    assert len(set(made)) == len(ids)
