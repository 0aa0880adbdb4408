import json

from hypothesis import given
from hypothesis import strategies as st

from trove_agents.wire import names


@given(st.binary())
def test_any_name_on_disk_survives_the_wire(name: bytes) -> None:
    sent = names.to_wire(names.from_bytes(name))
    assert json.loads(json.dumps(sent, ensure_ascii=False).encode()) == sent
    assert names.to_bytes(names.from_wire(sent)) == name


@given(st.text(st.characters(exclude_categories=("Cs",))))
def test_ordinary_names_travel_as_they_are(name: str) -> None:
    if not any("\uf780" <= character <= "\uf7ff" for character in name):
        assert names.to_wire(name) == names.from_wire(name) == name


def test_a_name_that_looks_escaped_is_told_from_one_that_is() -> None:
    private = "\uf7e9"
    byte = names.from_bytes(b"\xe9")
    assert names.to_wire(byte) == private
    assert names.to_wire(private) != private
    assert names.from_wire(names.to_wire(private)) == private
