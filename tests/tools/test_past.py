import pytest

from trove_agents import TroveError, TroveNotFoundError


def test_back_and_forth(client, use):
    client.write("a.txt", "good")
    kept = use("snapshot", label="before")
    snapshot_id = kept.plain["snapshot_id"]
    assert kept.text == f"{snapshot_id} keeps the workspace as it is now (4 bytes)."
    client.write("a.txt", "better")
    client.write("d/b.txt", "new")
    assert use("diff", since=snapshot_id).text == (
        "changed workspace/a.txt (4 -> 6 bytes)\nadded workspace/d/\nadded workspace/d/b.txt (3 bytes)"
    )
    second = use("snapshot").plain["snapshot_id"]
    back = use("restore", to=snapshot_id)
    assert back.text == f"The workspace is what it was at {snapshot_id}; files in it: 1."
    assert (client.read("a.txt"), back.plain) == ("good", {"to": snapshot_id, "files": 1})
    assert use("diff", since=second, until=snapshot_id, max_characters=40).text == (
        "changed workspace/a.txt (6 -> 4 bytes)\n[there are more: ask for less]"
    )
    assert use("diff", since=snapshot_id).text == "(no difference)"


def test_any_state(client, use):
    client.write("a.txt", "one")
    version = next(client.history()).version
    client.write("a.txt", "two")
    use("restore", to=str(version))
    assert client.read("a.txt") == "one"


def test_states_that_are_none(client, use):
    client.write("a.txt", "one")
    with pytest.raises(TroveNotFoundError):
        use("restore", to="snap-0000000000000000")
    for name, arguments in [("restore", {"to": "yesterday"}), ("diff", {"since": "yesterday"})]:
        with pytest.raises(TroveError) as caught:
            use(name, **arguments)
        assert caught.value.recovery == "fix-arguments"
