"""That the benchmarks still run. What they measure is not judged here."""

import json
import subprocess
import sys
from pathlib import Path

SCRIPT = Path(__file__).parents[1] / "benchmarks" / "run.py"
OPERATIONS = {
    "write 1 KB over a file",
    "write 1 KB, a new file",
    "read 1 KB",
    "list 100",
    "snapshot",
    "restore",
    "snapshot, in the store",
    "fork, in the store",
    "restore, in the store",
    "snapshot, beside archives",
    "restore, beside archives",
}


def test_every_figure_is_taken(tmp_path):
    done = subprocess.run(
        [sys.executable, str(SCRIPT), "--smoke", "--dir", str(tmp_path / "files"), "--json", "-"],
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert done.returncode == 0, done.stderr

    document = json.loads(done.stdout)
    taken = {(row["section"], row["operation"]): row["value"] for row in document["rows"]}
    assert {operation for section, operation in taken if section == "20 files"} >= OPERATIONS
    assert {section for section, _ in taken} == {"20 files", "group commit", "large files", "the house"}
    assert all(value > 0 for (_, operation), value in taken.items() if not operation.startswith("memory of"))
    exec_taken = ("20 files", "exec of true") in taken
    assert exec_taken or any(note.startswith("exec was not timed: ") for note in document["notes"])
    assert not list((tmp_path / "files").iterdir()), "it cleans up"
