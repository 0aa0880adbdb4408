"""Builds the four wheels and uses each in an environment that holds nothing but the wheel and what it asks for.

One lock for the whole repository hides a dependency that a distribution forgot to declare; here its import fails.
The versions are those of requirements.lock.
"""

import re
import subprocess
import sys
import tempfile
import time
import venv
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
PIP = ["-m", "pip", "--disable-pip-version-check", "--no-input", "--quiet"]

IMPORT_ALL = """
import importlib, pkgutil
package = importlib.import_module({package!r})
for module in pkgutil.walk_packages(package.__path__, package.__name__ + ".", lambda name: None):
    if not module.name.startswith({without!r}):
        importlib.import_module(module.name)
for name in package.__all__:
    getattr(package, name)
"""

CORE_ALONE = """
import subprocess, sys, pathlib
import trove_agents
for name in trove_agents.__all__:
    if name not in {"Trove", "connect"}:
        getattr(trove_agents, name)
try:
    trove_agents.TroveClient("key", "wheel", base_url="http://127.0.0.1:1", retries=trove_agents.Retries(attempts=2)).me()
except trove_agents.TroveConnectionError:
    pass  # nobody is there; but the HTTP library and the retries were
else:
    raise AssertionError("somebody answered at port 1")
heavy = {"starlette", "sqlalchemy", "obstore", "uvicorn", "typer", "alembic"} & set(sys.modules)
assert not heavy, heavy
try:
    trove_agents.Trove
except ImportError as error:
    assert "trove-agents[server]" in str(error), error
else:
    raise AssertionError("Trove came without the extra server")
command = pathlib.Path(sys.executable).with_name("trove-agents")
said = subprocess.run([command, "--version"], capture_output=True, text=True)
assert said.returncode == 1 and "trove-agents[server]" in said.stderr, said
"""

SERVER = """
import subprocess, sys, pathlib
from trove_agents import Trove
with Trove.temporary(sandbox="none") as trove:
    client = trove.client("wheel")
    client.write("notes.md", "hello")
    assert client.read_text("notes.md") == "hello"
    assert client.exec("cat workspace/notes.md") == "hello"
command = pathlib.Path(sys.executable).with_name("trove-agents")
said = subprocess.run([command, "--version"], capture_output=True, text=True, check=True).stdout
assert "trove-agents" in said, said
"""

LANGCHAIN_ALONE = """
import langchain_trove
langchain_trove.TroveToolkit
try:
    langchain_trove.WalletMiddleware
except ImportError as error:
    assert "langchain-trove[agent]" in str(error), error
else:
    raise AssertionError("the middleware came without the extra agent")
"""

NO_DRIVER = """
from trove_agents.server.db import Database
try:
    Database.open("postgresql://127.0.0.1:1/none")
except ImportError as error:
    assert "trove-agents[postgres]" in str(error), error
else:
    raise AssertionError("PostgreSQL came without the extra postgres")
"""


@dataclass(frozen=True)
class Trial:
    """One environment: what is installed, and what must work there."""

    name: str
    wheels: tuple[str, ...]
    code: str
    extra: str = ""


TRIALS = (
    Trial("trove-agents", ("trove_agents",), CORE_ALONE),
    Trial("trove-agents[server]", ("trove_agents",), SERVER + NO_DRIVER, "[server]"),
    Trial(
        "trove-agents[server,postgres]",
        ("trove_agents",),
        IMPORT_ALL.format(package="trove_agents", without=()),
        "[server,postgres]",
    ),
    Trial("langchain-trove", ("langchain_trove", "trove_agents"), LANGCHAIN_ALONE),
    Trial(
        "langchain-trove[agent]",
        ("langchain_trove", "langgraph_trove", "trove_agents"),
        # the extra deepagents has a lock of its own: see the Makefile
        IMPORT_ALL.format(package="langchain_trove", without=("langchain_trove.sandbox",)),
        "[agent]",
    ),
    *(
        Trial(
            package.replace("_", "-"),
            (package, "trove_agents"),
            IMPORT_ALL.format(package=package, without=()),
        )
        for package in ("langgraph_trove", "pydantic_ai_trove")
    ),
)


def build(folder: Path) -> dict[str, Path]:
    """The wheels by import name, built with the pinned hatchling."""
    projects = [ROOT, *sorted((ROOT / "integrations").iterdir())]
    options = ["--no-deps", "--no-build-isolation", "--wheel-dir", str(folder)]
    run([sys.executable, *PIP, "wheel", *options, *map(str, projects)], folder)
    return {wheel.name.split("-")[0]: wheel for wheel in sorted(folder.glob("*.whl"))}


def constraints(folder: Path) -> Path:
    """The pins of the lock without their hashes: pip accepts no wheel of ours beside hashed ones."""
    pins = re.findall(
        r"^([A-Za-z0-9][^\\\n]*?)\s*\\?$", (ROOT / "requirements.lock").read_text(), re.MULTILINE
    )
    path = folder / "constraints.txt"
    path.write_text("".join(f"{pin}\n" for pin in pins if "==" in pin))
    return path


def attempt(trial: Trial, wheels: dict[str, Path], pins: Path, folder: Path) -> str:
    started = time.monotonic()
    environment = folder / trial.name
    venv.create(environment, with_pip=False)
    python = environment / "bin" / "python"
    pip = [sys.executable, *PIP, "--python", str(python)]
    first, *others = (str(wheels[name]) for name in trial.wheels)
    run([*pip, "install", "--constraint", str(pins), first + trial.extra, *others], folder)
    run([*pip, "check"], folder)
    run([str(python), "-I", "-c", trial.code], folder)
    return f"{trial.name}: installed alone and used ({time.monotonic() - started:.0f} s)"


def run(command: list[str], folder: Path) -> None:
    """What the command says is shown only if it fails."""
    done = subprocess.run(
        command, check=False, cwd=folder, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    )
    if done.returncode != 0:
        sys.exit(f"{done.stdout}\nfailed: {' '.join(command)}")


def main() -> None:
    with tempfile.TemporaryDirectory() as name, ThreadPoolExecutor(2) as pool:
        folder = Path(name)
        wheels = build(folder)
        pins = constraints(folder)
        for said in pool.map(lambda trial: attempt(trial, wheels, pins, folder), TRIALS):
            print(said, flush=True)


if __name__ == "__main__":
    main()
