"""The SDK's orientation packet beside our own client's: wire 9.2."""

import asyncio

import pytest
from trove_sdk.exceptions import TroveError

import trove_agents

FIELDS = ("namespace", "file_count", "last_modified_at", "init_script", "agent_memory", "truncated")


def ours(colour, workspace, namespace="main"):
    if colour.name == "sync":
        with trove_agents.TroveClient(workspace.key, namespace, base_url=workspace.base_url) as client:
            return client.bootstrap()

    async def ask():
        async with trove_agents.AsyncTroveClient(
            workspace.key, namespace, base_url=workspace.base_url
        ) as client:
            return await client.bootstrap()

    return asyncio.run(ask())


def assert_alike(theirs, ours):
    for field in FIELDS:
        assert getattr(theirs, field) == getattr(ours, field), field
    recent = [
        [(f.name, f.path, f.is_dir, f.size_bytes, f.modified_at) for f in packet.recent_files]
        for packet in (theirs, ours)
    ]
    assert recent[0] == recent[1]
    assert theirs.as_system_prompt_block() == ours.as_system_prompt_block()


def test_a_fresh_namespace(client, colour, workspace):
    """Wire 11.1."""
    packet = client.bootstrap()
    assert (
        packet.as_system_prompt_block() == "<workspace>\n  namespace: main\n  files: 0 (empty)\n</workspace>"
    )
    assert_alike(packet, ours(colour, workspace))


def test_a_lived_in_namespace(client, colour, workspace):
    for number in range(12):
        client.write(f"data/{number:02}.csv", "x" * number)
    client.set_init("cd workspace/data\nexport A=1\n")
    client.write(".trove/agent.md", "Left off at row 12.\n\nNext: the totals.\n")
    packet = client.bootstrap()
    assert packet.file_count == 12
    assert [f.name for f in packet.recent_files] == [f"{number:02}.csv" for number in range(11, 1, -1)]
    assert packet.agent_memory == "Left off at row 12.\n\nNext: the totals.\n"
    block = packet.as_system_prompt_block().splitlines()
    assert block[2] == f"  files: 12; last edited {packet.last_modified_at}"
    assert block[3].startswith("  recent: workspace/data/11.csv (11B), workspace/data/10.csv (10B), ")
    assert block[4:] == [
        "  init.sh: cd workspace/data; export A=1",
        "  last_session: |",
        "    Left off at row 12.",
        "    ",
        "    Next: the totals.",
        "</workspace>",
    ]
    assert_alike(packet, ours(colour, workspace))


def test_restored_times_keep_the_order(client, colour, workspace):
    client.write("old", "x")
    client.write("new", "x")
    taken = client.create_snapshot()
    client.write("old", "touched")
    assert [f.name for f in client.bootstrap().recent_files] == ["old", "new"]
    client.restore_snapshot(taken.snapshot_id)
    assert [f.name for f in client.bootstrap().recent_files] == ["new", "old"]
    assert_alike(client.bootstrap(), ours(colour, workspace))


def test_a_binary_note_is_an_error_in_both(client, colour, workspace):
    client.upload("workspace/.trove/agent.md", b"\x00\x01")
    with pytest.raises(TroveError) as theirs:
        client.bootstrap()
    with pytest.raises(trove_agents.TroveError) as own:
        ours(colour, workspace)
    assert theirs.value.status_code == own.value.status_code == 415


@pytest.mark.sandbox
def test_a_namespace_over_the_cap_says_so(client, colour, workspace):
    client.exec("mkdir d && cd d && touch $(seq -w 1 1500)")
    packet = client.bootstrap()
    assert (packet.truncated, packet.file_count) == (True, 999)
    assert "(more, truncated)" in packet.as_system_prompt_block()
    assert_alike(packet, ours(colour, workspace))
