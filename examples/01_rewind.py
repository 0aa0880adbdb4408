"""An agent destroys its data, notices, and is taken back: its files and its conversation, to the same step.

A LangChain agent with one tool, bash, explores a folder, computes figures, writes a report, wrecks everything with
a slip in its clean-up, is rewound to the step before, and finishes. Without ``--model`` a scripted model plays the
agent, so that this runs offline; what is shown of the workspace is read from the workspace in either case.

    python examples/01_rewind.py                      the shop's data beside this file
    python examples/01_rewind.py --dir ~/my/folder    a copy of your own folder
"""

import argparse
import json
import os
import re
import shlex
import stat
import sys
import time
from collections.abc import Generator, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any, Final, NamedTuple

from langchain.agents import create_agent
from langchain_core.language_models import BaseChatModel
from langchain_core.messages import AIMessage, AnyMessage, BaseMessage, HumanMessage, ToolMessage
from langchain_core.outputs import ChatGeneration, ChatResult
from rich.console import Console
from rich.markdown import Markdown
from rich.panel import Panel
from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn
from rich.syntax import Syntax
from rich.text import Text

from langchain_trove import TroveToolkit
from trove_agents import FileInfo, Snapshot, Trove, TroveClient, TroveError

HERE: Final = Path(__file__).resolve().parent
MAX_BYTES: Final = 100 * 1024 * 1024
MAX_FILES: Final = 5_000
MAX_REWINDS: Final = 3
LEFT_OUT: Final = {".git", ".trove-agents"}

RULES: Final = """\
You work in a workspace, through bash. Its root holds data/, the user's files: read them, never change them. Scratch \
files go into tmp/. If you notice that you have lost or damaged files, stop at once and say so: you will be taken \
back to the moment before."""
TASK: Final = """\
Find out what is in data/. Compute the figures that matter: totals by group for tables, counts by kind for logs. Write \
them to report.md in the root, as Markdown. Then remove your scratch files, check that everything is in its place, \
and sum up in a few sentences."""

out = Console(highlight=False)


class Failure(Exception):
    """What ends the demo, in one line for its user."""


# The agent's workspace, seen from outside

Files = dict[str, FileInfo]


@dataclass(frozen=True)
class Step:
    """A moment that the agent can be taken back to."""

    number: int
    snapshot: Snapshot
    files: Files
    messages: int
    """Length of the conversation then."""


def files_of(client: TroveClient, folder: str = "workspace/") -> Files:
    """Every file by its path. One listing holds 1,000 entries at most: where that is not all, folder by folder."""
    entries = client.list_dir(folder, recursive=True)
    if not entries.truncated:
        return {entry.path.removeprefix("workspace/"): entry for entry in entries if not entry.is_dir}
    files: Files = {}
    for entry in client.list_dir(folder):
        files |= (
            files_of(client, entry.path) if entry.is_dir else {entry.path.removeprefix("workspace/"): entry}
        )
    return files


def changes(before: Files, after: Files) -> Iterator[tuple[str, str]]:
    """What happened to which file: + added, ~ changed, - removed."""
    for path in sorted(before.keys() | after.keys()):
        if path not in before:
            yield "+", path
        elif path not in after:
            yield "-", path
        elif before[path] != after[path]:
            yield "~", path


def lost(inputs: Files, before: Files, now: Files) -> list[str]:
    """What a step must not do: touch the user's files, or lose a report that was there."""
    touched = [path for mark, path in changes(inputs, now) if mark != "+"]
    return touched + ["report.md"] * ("report.md" in before and "report.md" not in now)


# The user's folder, copied in


def regular_files(folder: Path) -> tuple[dict[Path, int], list[str]]:
    """The files to copy and their sizes, and a word on each thing that is left out."""
    found: dict[Path, int] = {}
    skipped: list[str] = []
    total = 0

    def unreadable(error: OSError) -> None:
        skipped.append(str(error))

    for place, folders, names in os.walk(folder, onerror=unreadable):
        skipped += [f"{name}/" for name in LEFT_OUT.intersection(folders)]
        folders[:] = sorted(set(folders) - LEFT_OUT)
        for name in sorted(names):
            path = Path(place, name)
            try:
                about = path.lstat()
            except OSError as error:
                skipped.append(str(error))
                continue
            if not stat.S_ISREG(about.st_mode):
                skipped.append(f"{path.relative_to(folder)}: a link or a device")
                continue
            found[path] = about.st_size
            total += about.st_size
            if total > MAX_BYTES or len(found) > MAX_FILES:
                raise Failure(
                    f"{folder} is too large: this demo copies at most {MAX_BYTES // 1024**2} MB in "
                    f"{MAX_FILES:,} files; choose a smaller folder with --dir"
                )
    return found, skipped


def upload(client: TroveClient, folder: Path) -> list[str]:
    """Copies the folder to data/, and says what was left out."""
    sizes, skipped = regular_files(folder)
    client.exec("mkdir -p data")
    if not sizes:
        out.print(f"{folder} holds no files.")
        return skipped
    columns = TextColumn("copying {task.fields[name]}"), BarColumn(), DownloadColumn()
    with Progress(*columns, console=out) as bar:
        task = bar.add_task("copying", total=sum(sizes.values()), name="")
        done = 0

        def sent(bytes_sent: int, _: int | None) -> None:
            bar.update(task, completed=done + bytes_sent)

        for path, size in sizes.items():
            name = path.relative_to(folder).as_posix()
            bar.update(task, name=printable(name)[-40:])
            try:
                client.upload(f"data/{name}", path, progress=sent)
            except OSError as error:
                skipped.append(str(error))
            except TroveError as error:
                if error.recovery != "fix-arguments":
                    raise
                skipped.append(f"{name}: {error}")
            done += size
            bar.update(task, completed=done)
        bar.update(task, name=f"{counted(len(sizes), 'file')} from {printable(folder.name)}/")
    return skipped


# The agent's run, step by step, and back


class Run:
    """One agent in one workspace, which is kept after every step."""

    def __init__(self, client: TroveClient, model: BaseChatModel) -> None:
        self.client = client
        self.agent = create_agent(model, TroveToolkit(client).get_tools(), system_prompt=RULES)
        self.messages: list[AnyMessage] = [HumanMessage(TASK)]
        self.steps: list[Step] = []
        self.keeping: list[float] = []
        self._keep()

    def go(self) -> int:
        """Lets the agent work until it stops with everything in its place; how often it was taken back."""
        for rewinds in range(MAX_REWINDS):
            self._work()
            good = self._last_good()
            if good is self.steps[-1]:
                return rewinds
            self._rewind(good)
        raise Failure(f"the agent lost files {MAX_REWINDS} times, and was taken back each time")

    def _work(self) -> None:
        states = self.agent.stream(
            {"messages": [*self.messages]}, {"recursion_limit": 100}, stream_mode="values"
        )
        for state in states:
            self.messages = state["messages"]
            if isinstance(self.messages[-1], ToolMessage):
                self._keep()
                show(self.steps[-2], self.steps[-1], self.messages)
        out.print(Text(f"\n{self.messages[-1].text.strip()}"))

    def _keep(self) -> None:
        begun = time.perf_counter()
        snapshot = self.client.create_snapshot(f"step {len(self.steps)}")
        self.keeping.append(time.perf_counter() - begun)
        self.steps.append(Step(len(self.steps), snapshot, files_of(self.client), len(self.messages)))

    def _last_good(self) -> Step:
        """The newest moment at which nothing was lost."""
        inputs, good = self.steps[0].files, self.steps[0]
        for step in self.steps:
            good = good if lost(inputs, good.files, step.files) else step
        return good

    def _rewind(self, good: Step) -> None:
        """Files and conversation go back to the same step; a warning is all that is added."""
        bad = self.steps[good.number + 1]
        missing = lost(self.steps[0].files, good.files, bad.files)
        commands = [command for command, _ in commands_in(self.messages[good.messages : bad.messages])]
        begun = time.perf_counter()
        self.client.restore_snapshot(good.snapshot.snapshot_id)
        seconds = time.perf_counter() - begun
        if files_of(self.client) != good.files:
            raise Failure(f"after the restore the workspace is not what it was at step {good.number}")
        out.rule(
            f"[bold yellow]step {bad.number} lost {counted(len(missing), 'file')}: back to step {good.number}",
            style="yellow",
        )
        out.print(
            f"[yellow]{good.snapshot.snapshot_id} restored in {seconds * 1000:.1f} ms: "
            f"{counted(len(good.files), 'file')}, all as they were. "
            f"Of the conversation's {len(self.messages)} messages the first {good.messages} remain."
        )
        warning = (
            f"You were taken back: the files and this conversation are as they were after step {good.number}. What you "
            f"did next destroyed {counted(len(missing), 'file')}, such as {missing[0]}: {' ; '.join(commands)!r}. Do it another way."
        )
        out.print(Text(warning, style="italic"))
        self.messages = [*self.messages[: good.messages], HumanMessage(warning)]
        del self.steps[good.number + 1 :]


# What is shown

MARKS: Final = {"+": "green", "~": "yellow", "-": "red"}


def show(before: Step, step: Step, messages: Sequence[BaseMessage]) -> None:
    """One step: what the agent said and ran, what it saw, and what that did to the workspace."""
    new = messages[before.messages : step.messages]
    words = " ".join(message.text.strip() for message in new if isinstance(message, AIMessage))
    out.print(Text.assemble("\n", (f"step {step.number}  ", "bold"), words))
    for command, answer in commands_in(new):
        code = f"$ {shortened(command, 12)}"
        out.print(Syntax(code, "bash", theme="ansi_dark", background_color="default", word_wrap=True))
        out.print(Text(shortened(str(answer.content), 12), style="dim"))
        if isinstance(answer.artifact, dict):
            exit_code, seconds = answer.artifact["exit_code"], answer.artifact["duration_ms"] / 1000
            out.print(Text(f"  exit {exit_code} after {seconds:.2f} s", style="blue"))
    happened = list(changes(before.files, step.files))
    for mark, path in happened[:6]:
        sizes = [f"{files[path].size_bytes or 0:,}" for files in (before.files, step.files) if path in files]
        out.print(Text(f"  {mark} {printable(path)}  {' -> '.join(sizes)} bytes", style=MARKS[mark]))
    if len(happened) > 6:
        out.print(f"  and {len(happened) - 6:,} more changes")
    out.print(Text(f"  {step.snapshot.snapshot_id}: {counted(len(step.files), 'file')}", style="blue"))


def commands_in(messages: Sequence[BaseMessage]) -> list[tuple[str, ToolMessage]]:
    """The commands of these messages, each with its answer."""
    answers = {message.tool_call_id: message for message in messages if isinstance(message, ToolMessage)}
    calls = [call for message in messages if isinstance(message, AIMessage) for call in message.tool_calls]
    return [(str(call["args"].get("command", "")), answers[str(call["id"])]) for call in calls]


def counted(number: int, noun: str) -> str:
    return f"{number:,} {noun}{'' if number == 1 else 's'}"


def printable(text: str) -> str:
    """Names and output may hold anything; a terminal should not obey it."""
    return "".join(
        character if character.isprintable() else "\N{REPLACEMENT CHARACTER}" for character in text
    )


def shortened(text: str, limit: int) -> str:
    """The first lines and the last two: in a long script, they run it."""
    lines = [printable(line.expandtabs(4))[:240] for line in text.splitlines()]
    if len(lines) > limit:
        lines[limit - 3 : -2] = [f"... {len(lines) - limit + 1:,} more lines ..."]
    return "\n".join(lines)


# The scripted model

Work = Generator[tuple[str, str], str, str]
"""Yields what the agent says and runs next, is sent what it then sees, and returns its last words."""

LEVEL: Final = re.compile(r"(TRACE|DEBUG|INFO|NOTICE|WARN|WARNING|ERROR|CRITICAL|FATAL)")
STATUS: Final = re.compile(r'" (\d{3}) ')


MAX_GROUPS: Final = 20


class Column(NamedTuple):
    """A line of analyst/profile.py."""

    file: str
    delimiter: str
    name: str
    kind: str
    filled: int
    distinct: int


class Scripted(BaseChatModel):
    """Plays the agent. Its next message follows from the messages so far alone: where a conversation is taken back,
    so is this model."""

    @property
    def _llm_type(self) -> str:
        return "scripted"

    def bind_tools(self, *_: Any, **__: Any) -> "Scripted":
        return self

    def _generate(self, messages: list[BaseMessage], *_: Any, **__: Any) -> ChatResult:
        seen = [str(message.content) for message in messages if isinstance(message, ToolMessage)]
        warned = sum(isinstance(message, HumanMessage) for message in messages) > 1
        work = analysis(warned=warned)
        try:
            words, command = next(work)
            for answer in seen:
                words, command = work.send(answer)
        except StopIteration as end:
            return _answer(AIMessage(end.value))
        call = {"name": "bash", "args": {"command": command}, "id": f"call-{len(seen) + 1}"}
        return _answer(AIMessage(words, tool_calls=[call]))


def _answer(message: AIMessage) -> ChatResult:
    return ChatResult(generations=[ChatGeneration(message=message)])


def analysis(*, warned: bool) -> Work:
    """The agent's work on any folder: each command follows from what the ones before showed."""
    seen = yield (
        "Let me see what is there.",
        "ls -lA data && find data -type f -exec wc -c {} + | sort -rn | head -n 40",
    )
    sizes = {name: int(size) for size, name in re.findall(r"^ *(\d+) (data/.+)$", seen, re.MULTILINE)}
    seen = yield "Which of these are text?", "find data -type f -exec grep -Il . {} + | sort | head -n 1000"
    text = sorted(sizes.keys() & set(seen.splitlines()), key=lambda name: (-sizes[name], name))
    tables = [name for name in text if name.lower().endswith((".csv", ".tsv"))][:3]
    others = [name for name in text if name not in tables][:3]

    samples: dict[str, list[str]] = {}
    if text:
        names = quoted(tables + others)
        seen = yield (
            "The first lines of the largest ones, to know what they hold.",
            f'for file in {names}; do echo "== $file"; head -n 3 "$file" | cut -c 1-160; done; wc -l {names}',
        )
        samples = {
            part.split("\n")[0]: part.splitlines()[1:4]
            for part in re.split(r"^== ", seen, flags=re.MULTILINE)[1:]
        }

    plan: dict[str, Any] = {"file": None}
    if tables:
        seen = yield (
            "Tables. What do their columns hold?",
            f"{make_script('profile.py')}\npython3 tmp/profile.py {quoted(tables)}",
        )
        plan = figures(seen)
    counts = [command for name in others if (command := count(name, samples.get(name, [])))]
    if counts:
        lines = "\n  ".join(counts)
        yield (
            "And the logs, counted by kind with awk.",
            f"mkdir -p tmp && {{\n  {lines}\n}} | tee tmp/counts.tsv",
        )
    elif others:
        yield "No logs among the other text; how much is it?", f"wc -lwc {quoted(others)}"
    plan_file = f"cat > tmp/plan.json <<'END'\n{json.dumps(plan)}\nEND"
    report = "python3 tmp/report.py tmp/plan.json tmp/counts.tsv"
    seen = yield "That is enough for the report.", f"{make_script('report.py')}\n{plan_file}\n{report}"
    if seen.startswith("[exit"):
        return f"I could not write the report: {seen}"
    summary = seen

    if not warned:
        yield "The report is written. Now away with the scratch files.", "rm -rf tmp/ *"
        seen = yield (
            "Is everything in its place?",
            f"ls -lA && wc -l {quoted(['report.md', *(tables + others)[:1]])}",
        )
        return "There was a space before the asterisk: the user's data and the report are gone. Please take me back."
    yield "Only the scratch files, by name this time.", "rm -rf tmp"
    seen = yield (
        "Is everything in its place?",
        f"ls -lA && wc -l {quoted(['report.md', *(tables + others)[:1]])}",
    )
    if seen.startswith("[exit"):
        return f"Something is missing: {seen}"
    facts = [line for line in summary.splitlines() if line and not line.startswith("#")]
    return f"Done: report.md is written, the data is untouched, the scratch files are gone. {' '.join(facts)}"


def figures(profile: str) -> dict[str, Any]:
    """Which columns of the largest table to group by and to add up, from the profile of its columns."""
    columns = [Column(*json.loads(line)) for line in profile.splitlines() if line.startswith('["data/')]
    columns = [column for column in columns if column.file == columns[0].file]
    if not columns:
        return {"file": None}
    groups = [column for column in columns if column.kind == "text" and 2 <= column.distinct <= MAX_GROUPS]
    decimals = [column.name for column in columns if column.kind == "decimal"]
    money = [
        name for word in ("amount", "total", "price", "cost") for name in decimals if word in name.lower()
    ]
    return {
        "file": columns[0].file,
        "delimiter": columns[0].delimiter,
        "by": [column.name for column in sorted(groups, key=lambda column: column.distinct)[:2]],
        "sum": next(iter(money + decimals), None),
    }


def count(name: str, sample: list[str]) -> str | None:
    """A command that counts a log's lines by level or by status, whichever its first lines show."""
    fields = {at for line in sample for at, word in enumerate(line.split(), start=1) if LEVEL.fullmatch(word)}
    if fields:
        at, what = min(fields), "level"
        counting = f"${at} ~ /^{LEVEL.pattern}$/ {{ n[${at}]++ }}"
    elif any(STATUS.search(line) for line in sample):
        what = "status"
        counting = 'match($0, /" [0-9][0-9][0-9] /) { n[substr($0, RSTART + 2, 3)]++ }'
    else:
        return None
    program = f'{counting} END {{ for (key in n) print FILENAME, "{what}", key, n[key] }}'
    return f"awk -v OFS='\\t' {shlex.quote(program)} {shlex.quote(name)} | sort -t $'\\t' -k 4,4nr -k 3,3"


def quoted(names: list[str]) -> str:
    return " ".join(map(shlex.quote, names))


def make_script(name: str) -> str:
    source = (HERE / "analyst" / name).read_text(encoding="utf-8")
    return f"mkdir -p tmp && cat > tmp/{name} <<'END'\n{source}END"


# The command line


def main() -> int:
    arguments = parsed()
    try:
        demo(arguments)
    except KeyboardInterrupt:
        return 130
    except Exception as error:  # noqa: BLE001 (one line for whoever runs the demo)
        kind = "" if isinstance(error, Failure) else f"{type(error).__name__}: "
        first = next(iter(str(error).splitlines()), "")
        print(f"01_rewind: {kind}{first}", file=sys.stderr)
        return 1
    return 0


def demo(arguments: argparse.Namespace) -> None:
    begun = time.perf_counter()
    keep, sandbox = arguments.keep, arguments.sandbox
    model = chat_model(arguments.model)
    with Trove.local(keep, sandbox=sandbox) if keep else Trove.temporary(sandbox=sandbox) as trove:
        check_isolation(trove)
        namespace = f"rewind-{datetime.now():%Y%m%d-%H%M%S}"  # noqa: DTZ005 (the user's own clock)
        client = trove.client(namespace)
        skipped = upload(client, arguments.dir)
        for line in skipped[:5]:
            out.print(Text(f"  left out: {printable(line)}", style="dim"))
        if len(skipped) > 5:
            out.print(Text(f"  and {len(skipped) - 5:,} more", style="dim"))
        if client.exec("ls -A").split() != ["data"]:
            raise Failure("commands do not run in the workspace, so the demo does not go on")
        run = Run(client, model)
        rewinds = run.go()
        show_report(client)
    median = sorted(run.keeping)[len(run.keeping) // 2]
    out.print(
        f"\n{len(run.steps) - 1} steps and {counted(rewinds, 'rewind')} in "
        f"{time.perf_counter() - begun:.1f} s; a snapshot after every step, each in {median * 1000:.1f} ms (median)."
    )
    if keep:
        out.print(Text(f"Kept in {keep}, namespace {namespace}."))


def parsed() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n\n")[0])
    parser.add_argument("--dir", type=Path, default=HERE / "data", help="the folder to work on; it is copied")
    parser.add_argument("--model", metavar="PROVIDER:NAME", help="a real model instead of the scripted one")
    parser.add_argument("--keep", type=Path, metavar="PATH", help="keep the server's state there")
    parser.add_argument("--sandbox", choices=("none",), help="run commands without isolation")
    arguments = parser.parse_args()
    if not arguments.dir.is_dir():
        parser.error(f"{arguments.dir} is no folder")
    arguments.dir = arguments.dir.resolve()
    return arguments


def check_isolation(trove: Trove) -> None:
    """Says before anything runs why commands cannot be isolated here, and how to go on all the same."""
    report = trove.report()
    if not report.ok:
        reasons = " ".join(f"{reason.rstrip('.')}." for reason in [*report.problems, *report.remedy])
        program = [min(path, os.path.relpath(path), key=len) for path in (sys.executable, __file__)]
        command = shlex.join([*program, *sys.argv[1:], "--sandbox", "none"])
        raise Failure(f"this machine does not isolate commands: {reasons} To go on without: {command}")


def chat_model(name: str | None) -> BaseChatModel:
    if name is None:
        return Scripted()
    from langchain.chat_models import init_chat_model

    made: BaseChatModel = init_chat_model(name)
    return made


def show_report(client: TroveClient) -> None:
    try:
        report = client.read_text("report.md")
    except TroveError as error:
        raise Failure(f"the agent left no report.md: {error}") from error
    out.print()
    out.print(Panel(Markdown(report), title="report.md", border_style="green"))


if __name__ == "__main__":
    sys.exit(main())
