"""A command past its 30 seconds: wire 3.1 and 11.4."""

import psutil
import pytest
import trove_sdk
from trove_sdk.exceptions import TroveTimeoutError

pytestmark = pytest.mark.sandbox


def test_it_is_stopped_and_its_files_are_kept(overdue):
    """408, nothing left running, and what it had written is there for a retry of the chain."""
    workspace = overdue.workspace
    with trove_sdk.TroveClient(workspace.key, "main", base_url=workspace.base_url) as client:
        client.write("written-meanwhile", "too")
        overdue.thread.join()
        assert (type(overdue.error), overdue.error.status_code) == (TroveTimeoutError, 408)
        assert 30 <= overdue.seconds < 45  # at 45 s the CLI gives up by itself
        running = {
            part for process in psutil.process_iter(["cmdline"]) for part in process.info["cmdline"] or ()
        }
        assert overdue.sleep not in running
        (event,) = workspace.events(types="exec.completed")
        assert (event["data"]["exit_code"], event["data"]["timed_out"]) == (124, True)
        assert {entry.name for entry in client.list_dir()} == {"step-1", "written-meanwhile"}
        steps = ["test -e step-1 || exit 9", "echo done > step-2", "cat step-1 step-2 written-meanwhile"]
        assert client.exec_chain(steps).stdout == "done\ndone\ntoo"
