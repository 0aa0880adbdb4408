"""While a command runs: what goes on beside it. How it ends is told in test_command_limit.py: 30 seconds later."""

import pytest
import trove_sdk

pytestmark = pytest.mark.sandbox


def test_it_keeps_nobody_waiting(overdue, client):
    """Neither the files of its namespace, nor commands of all others."""
    workspace = overdue.workspace
    assert client.exec("echo quick") == "quick\n"
    with trove_sdk.TroveClient(workspace.key, "main", base_url=workspace.base_url) as beside:
        beside.write("written-meanwhile", "waits for nobody")
        assert beside.read_text("written-meanwhile") == "waits for nobody"
        assert beside.list_snapshots() == []
    assert overdue.thread.is_alive()
