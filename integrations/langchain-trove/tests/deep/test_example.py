import re
import subprocess
import sys
from pathlib import Path

import pytest

pytest.importorskip("deepagents", reason="in an environment of its own: make deepagents")

EXAMPLE = Path(__file__).parents[4] / "examples" / "05_deep_agent.py"


@pytest.mark.sandbox
@pytest.mark.usefixtures("isolated")
def test_a_deep_agent_writes_a_program_and_every_step_can_be_seen_again(tmp_path):
    done = subprocess.run(
        [sys.executable, "-W", "error", EXAMPLE],
        cwd=tmp_path,
        env={"PATH": "/usr/bin:/bin", "HOME": str(tmp_path), "COLUMNS": "120"},
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert done.returncode == 0, done.stderr
    printed = done.stdout
    assert (
        printed.index("FAILED (failures=1)")
        < printed.index("Successfully replaced")
        < printed.index("\n\nOK\n")
    )
    rows = re.findall(r"│ .*? │ (\w+ \S+)? +│ (\d) +│", printed)
    assert rows == [
        ("added slug.py", "1"),
        ("added test_slug.py", "2"),
        ("changed slug.py", "2"),
        ("added review.md", "3"),
        ("", "3"),
    ]
    assert "strip" not in printed[printed.index("before it was mended") :]
    assert re.search(r"^  program-\S+: review.md, slug.py, test_slug.py$", printed, re.MULTILINE)
    assert list(tmp_path.iterdir()) == []
