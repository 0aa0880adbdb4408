"""That the benchmarks still run. What they measure is not judged here."""

import importlib
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
    "fork",
    "step reference",
    "diff of 10 changes",
    "history of a path",
    "snapshot, beside archives",
    "restore, beside archives",
}
CLIENTS = ("1 client", "16 clients", "64 clients")
PAYMENTS = {
    f"{payment}, {layer}"
    for payment in ("purchase, one wallet", "purchase, 20 wallets", "hold and capture, one wallet")
    for layer in ("in the ledger", "in process", "over HTTP")
}
FRAMEWORKS = {
    "LangGraph, 20 files": {
        "step, no change, memory",
        "step, no change, asyncio, memory",
        "step, no change, SQLite",
        "step, no change, asyncio, SQLite",
        "step, 10 files changed",
        "step, 10 files changed, asyncio",
        "start of a run",
        "start at an older checkpoint",
        "step, 10 files changed, beside copies",
    },
    "Pydantic AI, 20 files": {"start and end of a run", "step, no change", "step, 1 file changed"},
    "Pydantic AI, paid tools": {"a paid call in Pydantic AI"},
}
TOOLS = {f"toolkit {tool}, beside the client" for tool in ("read", "write", "bash")}


def test_every_figure_is_taken(tmp_path):
    done = subprocess.run(
        [
            *(sys.executable, str(SCRIPT), "--smoke", "--dir", str(tmp_path / "files")),
            *("--tables", str(tmp_path / "tables.md"), "--json", "-"),
        ],
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert done.returncode == 0, done.stderr

    document = json.loads(done.stdout)
    taken = {(row["section"], row["operation"]): row["value"] for row in document["rows"]}
    assert {operation for section, operation in taken if section == "20 files"} >= OPERATIONS
    sections = {section for section, _ in taken}
    own = {section for section in sections if not section.startswith("PostgreSQL")}
    others = {"group commit", "the guard", "the toolkit", "large files", "the house"}
    assert own == {"20 files", *CLIENTS, *FRAMEWORKS, *others}
    far = {f"PostgreSQL, {section}" for section in ("20 files", *CLIENTS)}
    assert sections - own == far or any("nothing on PostgreSQL" in note for note in document["notes"])
    assert {operation for section, operation in taken if section in CLIENTS} == PAYMENTS
    for section, operations in FRAMEWORKS.items():
        assert {operation for other, operation in taken if other == section} == operations
    tools = {
        operation.replace(" for asyncio", "") for section, operation in taken if section == "the toolkit"
    }
    # What is left of the machine's memory, and a difference of two turns, may be anything
    anything = ("memory of", "guard, beside", "guard for asyncio, beside")
    differences = {"the toolkit", *FRAMEWORKS}
    assert all(
        value > 0
        for (section, operation), value in taken.items()
        if section not in differences and not operation.startswith(anything)
    )
    exec_taken = {("20 files", "exec of true"), ("20 files", "fork to first exec")} <= taken.keys()
    assert exec_taken or any(note.startswith("exec was not timed: ") for note in document["notes"])
    assert tools == (TOOLS if exec_taken else TOOLS - {"toolkit bash, beside the client"})
    assert "| what a workspace adds to LangGraph |" in (tmp_path / "tables.md").read_text()
    assert not list((tmp_path / "files").iterdir()), "it cleans up"


def test_a_page_gets_the_figures_in_place_of_those_before(tmp_path, monkeypatch):
    monkeypatch.syspath_prepend(SCRIPT.parent)
    run, report = importlib.import_module("run"), importlib.import_module("report")
    monkeypatch.setattr(run.plots, "draw", lambda rows, folder: [folder / "read.svg"])
    others = {"POSIX": 40.0}
    rows = [
        report.Row(
            "20 files", "read", "90 us", 90.0, "SQLite SELECT 10 us", 9.0, "≤ 5x", False, others, 95.0, 3
        ),
        report.Row("PostgreSQL, 20 files", "read", "1.00 ms", 1000.0, "psycopg SELECT 100 us", 10.0),
        report.Row(
            "LangGraph, 20 files", "step", "2.00 ms", 2000.0, "the graph alone 1.00 ms", 3.0, others=others
        ),
        report.Row("large files", "put 2 MB", "5 MB/s", 5.0),
    ]
    page = tmp_path / "page.md"
    page.write_text(f"before\n{run.BEGIN}old\n{run.END}after\n")
    for _ in range(2):
        run.publish(rows, {"cores": "2"}, page)
    text = page.read_text()
    assert text.startswith("before\n") and text.endswith("after\n") and "old" not in text
    assert text.count("| read | SQLite SELECT | 90 us, 9.0x | ≤ 5x |") == 1
    assert "| read | psycopg SELECT | 1.00 ms, 10.0x |  |" in text
    assert "| read | 90 us | POSIX 40 us |" in text
    assert "| what a workspace adds to LangGraph | floor | 20 files | aim |" in text
    assert "| step | the graph alone | 2.00 ms, 3.0x |  |" in text
    assert "| step | 2.00 ms | POSIX 40 us |" in text
    assert "| put 2 MB | 5 MB/s |" in text
    assert "![read](page/read.svg)" in text
