"""The examples, run as a user runs them, and what they print held against figures computed here."""

import csv
import importlib.util
import re
import subprocess
import sys
from collections import Counter
from decimal import Decimal
from pathlib import Path

import pytest

from trove_agents import Trove
from trove_agents.server.sandbox import probe

EXAMPLES = Path(__file__).parent.parent / "examples"
DATA = EXAMPLES / "data"
REWIND = EXAMPLES / "01_rewind.py"
PAID = EXAMPLES / "02_paid_tools.py"
TIME_TRAVEL = EXAMPLES / "03_langgraph_time_travel.py"
LANGCHAIN = EXAMPLES / "04_langchain_agent.py"
PYDANTIC_AI = EXAMPLES / "06_pydantic_ai.py"
DEEP = EXAMPLES / "05_deep_agent.py"  # tested where it can run: by `make deepagents`

ISOLATED = probe(None, network="none")
ISOLATION = [] if ISOLATED.ok else ["--sandbox", "none"]


def run(example, *arguments, cwd, inside=(), options=ISOLATION):
    return subprocess.run(
        [*inside, sys.executable, "-W", "error", example, *options, *map(str, arguments)],
        cwd=cwd,
        env={"PATH": "/usr/bin:/bin", "HOME": str(cwd), "COLUMNS": "120"},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )


def load(name):
    spec = importlib.util.spec_from_file_location(f"example_{name}", EXAMPLES / f"{name}.py")
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    return module


def figures(text, column, *keys):
    """Rows of printed tables: a key, then numbers."""
    rows = re.findall(r"│ +(\S+) +([\d,.]+(?: +[\d,.]+)*) *│", text[text.index(column) :])
    found = {
        key: tuple(Decimal(n.replace(",", "")) for n in numbers.split()) for key, numbers in reversed(rows)
    }
    return {key: found[key] for key in keys or found}


def test_every_numbered_example_is_tested_here():
    assert sorted(EXAMPLES.glob("[0-9]*.py")) == [REWIND, PAID, TIME_TRAVEL, LANGCHAIN, DEEP, PYDANTIC_AI]


@pytest.fixture(scope="module")
def shop(tmp_path_factory):
    """The demo on its own data, with the state it kept."""
    folder = tmp_path_factory.mktemp("rewind")
    done = run(REWIND, "--keep", folder / "state", cwd=folder)
    assert done.returncode == 0, done.stderr
    return folder / "state", done.stdout


def test_the_report_is_right(shop):
    _, printed = shop
    report = printed[printed.index("report.md ─") :]
    with (DATA / "orders.csv").open(encoding="utf-8", newline="") as file:
        orders = list(csv.DictReader(file))
    assert f"20,000 rows, amount {sum(Decimal(order['amount']) for order in orders):,}" in report
    for column in ("region", "status"):
        counts = Counter(order[column] for order in orders)
        expected = {
            key: (count, sum(Decimal(order["amount"]) for order in orders if order[column] == key))
            for key, count in counts.items()
        }
        assert figures(report, f"  {column} ", *counts) == expected
    levels = Counter(
        match[1]
        for line in (DATA / "logs" / "app.log").read_text().splitlines()
        if (match := re.match(r"\S+Z ([A-Z]+) ", line))
    )
    assert figures(report, "  level ", *levels) == {key: (count,) for key, count in levels.items()}
    statuses = Counter(
        line.split('"')[2].split()[0] for line in (DATA / "logs" / "web.log").read_text().splitlines()
    )
    lines = report[report.rindex("  status ") : report.index("  level ")]
    assert figures(lines, "status", *statuses) == {key: (count,) for key, count in statuses.items()}
    for path in DATA.rglob("*.*"):
        name = f"data/{path.relative_to(DATA).as_posix()}"
        content = path.read_bytes()
        assert figures(report, "  file ", name) == {name: (content.count(b"\n"), len(content))}


def test_the_agent_loses_its_data_and_is_taken_back(shop):
    _, printed = shop
    bad = printed.index("$ rm -rf tmp/ *")
    back = printed.index("step 7 lost 6 files: back to step 6")
    good = printed.index("$ rm -rf tmp\n")
    assert (
        printed.index("data/orders.csv  1,473,392 bytes", bad)
        < printed.index("No such file", bad)
        < back
        < good
    )
    assert "10 files, all as they were." in printed
    assert len(re.findall(r"^  exit \d+ after \d+\.\d\d s$", printed, re.MULTILINE)) == 10
    assert printed.rstrip().splitlines()[-2].startswith("8 steps and 1 rewind in ")


def test_what_is_kept_is_what_the_agent_left(shop):
    state, printed = shop
    namespace = re.search(r"namespace (\S+)\.", printed)[1]
    with Trove.local(state, sandbox="none") as trove:
        client = trove.client(namespace)
        files = {entry.path for entry in client.list_dir(recursive=True) if not entry.is_dir}
        inputs = {f"workspace/data/{path.relative_to(DATA).as_posix()}": path for path in DATA.rglob("*.*")}
        assert files == {"workspace/report.md", *inputs}
        assert all(client.read_bytes(name) == path.read_bytes() for name, path in inputs.items())
        labels = [snapshot.label for snapshot in client.list_snapshots()]
        assert labels == [f"step {number}" for number in (8, 7, 8, 7, 6, 5, 4, 3, 2, 1, 0)]


def test_a_folder_of_ones_own(tmp_path):
    own = tmp_path / "my own folder"
    (own / "a b").mkdir(parents=True)
    (own / "a b" / "Größen;1.csv").write_text("kind;größe\nx;1.5\ny;2.25\nx;3\n", encoding="utf-8")
    (own / "data.bin").write_bytes(bytes(range(256)) * 40)
    (own / "it's $HOME.txt").write_text("one\ntwo\n")
    (own / "empty").touch()
    (own / "two\nlines.txt").write_text("x")
    (own / "[bold]__init__.py").write_text("x = 1\n")
    (own / "link").symlink_to("/etc/passwd")
    done = run(REWIND, "--dir", own, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    report = done.stdout[done.stdout.index("report.md ─") :]
    assert "3 rows, größe 6.75" in report
    assert figures(report, "  kind ", "x", "y") == {"x": (2, Decimal("4.5")), "y": (1, Decimal("2.25"))}
    assert re.search(r"data/\[bold\]__init__\.py +1 +6 ", report)
    assert "left out: link: a link or a device" in done.stdout
    assert " and 1 rewind in " in done.stdout


def test_an_empty_folder(tmp_path):
    (tmp_path / "nothing").mkdir()
    done = run(REWIND, "--dir", "nothing", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert "The folder is empty." in done.stdout
    assert " and 1 rewind in " in done.stdout


def fail(monkeypatch, capsys, *arguments):
    """The exit code and the words of a run that cannot succeed; in this process, since it ends early."""
    monkeypatch.setattr(sys, "argv", [str(REWIND), *map(str, arguments)])
    code = load("01_rewind").main()
    [line] = capsys.readouterr().err.splitlines()
    return code, line


def test_too_large_a_folder_is_refused(tmp_path, monkeypatch, capsys):
    for name in "ab":
        with (tmp_path / name).open("wb") as file:
            file.truncate(60_000_000)
    code, line = fail(monkeypatch, capsys, "--dir", tmp_path)
    assert code == 1
    assert f"{tmp_path} is too large: this demo copies at most 100 MB" in line


@pytest.mark.sandbox
@pytest.mark.skipif(ISOLATED.sandbox != "bubblewrap" or not ISOLATED.ok, reason="needs bubblewrap")
def test_where_nothing_isolates_it_says_how_to_go_on(tmp_path):
    """Inside a sandbox that allows no further one."""
    inside = [ISOLATED.executable, "--unshare-user", "--disable-userns", "--dev-bind", "/", "/"]
    done = run(REWIND, "--dir", tmp_path, cwd=tmp_path, inside=inside)
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr.startswith("01_rewind: this machine does not isolate commands: ")
    assert "bwrap: " in done.stderr
    assert done.stderr.endswith(f"--dir {tmp_path} --sandbox none\n")
    assert done.stderr.count("\n") == 1


def test_an_unknown_model_is_one_line(tmp_path, monkeypatch, capsys):
    code, line = fail(monkeypatch, capsys, *ISOLATION, "--dir", tmp_path, "--model", "nobody:nothing")
    assert code == 1
    assert "nobody" in line


def test_a_missing_folder_is_a_usage_error(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(sys, "argv", [str(REWIND), "--dir", str(tmp_path / "no")])
    with pytest.raises(SystemExit) as caught:
        load("01_rewind").main()
    assert caught.value.code == 2
    assert "no is no folder" in capsys.readouterr().err


def test_the_data_is_what_its_script_makes(tmp_path):
    load("make_data").make(tmp_path)
    for path in DATA.rglob("*.*"):
        if path.name != "README.md":
            assert (tmp_path / path.relative_to(DATA)).read_bytes() == path.read_bytes()


def test_the_vendors_books_are_those_of_the_wallet(tmp_path):
    """What was charged is worked out here from the questions; the agent is really killed."""
    done = run(PAID, "--keep", tmp_path / "kept", cwd=tmp_path, options=())
    assert done.returncode == 0, done.stderr
    asked = load("02_paid_tools").QUESTIONS
    charged = [asked[n] for n in (0, 1, 3, 4, 5, 6, 7)]
    usd = sum(Decimal("0.0042") + Decimal("0.000317") * len(question) for question in charged)
    table = done.stdout[done.stdout.index("the vendor took") :]
    for row in ("the vendor took", "the wallet spent"):
        assert re.search(rf"{row} +│ +7 │ +{usd} ", table)
    assert re.search(r"difference +│ +│ +0\.000000 ", table)
    assert re.search(r"paid twice +│ +0 ", table)
    assert done.stdout.count("paid before, not asked again") == 3
    assert done.stdout.count("the answer was lost with the first process") == 2
    with Trove.local(tmp_path / "kept" / "state", sandbox="none") as trove:
        balance = trove.wallet("researcher", budget_usd="0.10").balance()
        assert (balance.total_spent, balance.held_usd, balance.in_doubt_usd) == (usd, 0, 0)


def test_a_graph_goes_back_and_both_branches_keep_their_files(tmp_path):
    done = run(TIME_TRAVEL, cwd=tmp_path, options=[])
    assert done.returncode == 0, done.stderr
    printed = done.stdout
    assert "It asks: Lisbon or Oslo? Files: ideas.txt\n" in printed
    assert "does not answer. Nothing half is left: choice.txt, days.txt, ideas.txt\n" in printed
    first, second = printed.split("\nBack to the question, when there was ideas.txt.")
    for part, city in ((first, "Lisbon"), (second, "Oslo")):
        assert re.search(rf"│ {city} it is. +│ added choice.txt +│ 2 +│", part)
        assert re.search(r"│ The fares are bought. +│ +│ 2 +│ \$0.05 │", part)
        assert part.count("Two cities to choose from.") == 1
    assert "The wallet, which goes nowhere back: $0.10 spent\n" in second
    assert second.endswith(
        "About 420 euros\n\n" + re.search(r"\[trip-.*", second)[0] + "\n# Oslo\n\n"
        "The opera's roof\nSauna in the fjord\nAbout 690 euros\n"
    )
    assert list(tmp_path.iterdir()) == []


def test_an_agent_is_taken_back_with_its_files(tmp_path):
    done = run(LANGCHAIN, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    printed = done.stdout
    sums = Counter()
    with (DATA / "orders.csv").open(encoding="utf-8", newline="") as file:
        for order in csv.DictReader(file):
            sums[order["region"]] += Decimal(order["amount"])
    report = "".join(f"- {amount} {region}\n" for region, amount in sums.most_common())
    assert f"# Sales\n{report}" in printed
    assert re.search(r"│ \(no output\) +│ removed data +│ 1 +│", printed)
    assert printed.endswith("</workspace>\n")
    assert "  careless: nothing\n  careful: data, report.md\n" in printed
    assert list(tmp_path.iterdir()) == []


def test_an_agent_whose_program_dies_goes_on_and_pays(tmp_path):
    done = run(PYDANTIC_AI, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    printed = done.stdout
    assert "The program dies.\ntmp.txt has 4 lines\n" in printed
    assert re.search(r"put back: workspace/tmp.txt. What was there is kept as ref-[0-9a-f]{16}\.", printed)
    report = printed[printed.index("# Sales") :].splitlines()[1:6]
    assert (
        len([line for line in report if line.startswith("- ")]) == 4
    )  # the first try's lines are not among them
    asked = printed.index("May market_study cost $1.50, paid to studies?\nuser: yes\n")
    paid = [printed.index(f"paid ${amount} to ") for amount in ("0.02", "1.50")]
    assert paid[0] < asked < paid[1] < printed.index("It needs $0.50, and $0.48 remain.")
    assert printed.count("\npaid $") == 2
    rows = re.findall(r"^│ (\d+) .*│ (\d+) +│ (\$\S+)? +│ (\$\S+) +│$", printed, re.MULTILINE)
    assert rows[4:8] == [
        ("5", "4", "$0.02", "$1.98"),
        ("6", "5", "$1.50", "$0.48"),
        ("7", "5", "", "$0.48"),
        ("8", "5", "", "$0.48"),
    ]
    assert "  careless: nothing; $0.48 of $2.00 remain\n  careful: data, report.md; $0.48" in printed
    assert printed.endswith("  careless: data, report.md, tmp.txt; $0.48 of $2.00 remain\n")
    assert list(tmp_path.iterdir()) == []
