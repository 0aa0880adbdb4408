"""What users may import, and what importing costs."""

import re
import subprocess
import sys
from pathlib import Path

import pytest

import trove_agents

HEAVY = [
    "httpx", "tenacity", "asyncio", "anyio", "ssl",
    "starlette", "uvicorn", "sqlalchemy", "alembic", "obstore", "blake3", "psycopg",
    "typer", "rich", "mcp", "opentelemetry", "langchain_core", "langgraph", "pydantic_ai", "pydantic",
    "trove_agents.server", "trove_agents.embedded", "trove_agents.cli",
]  # fmt: skip


def test_all_is_sorted_and_complete() -> None:
    assert trove_agents.__all__ == sorted(trove_agents.__all__)
    assert len(set(trove_agents.__all__)) == len(trove_agents.__all__)
    modules = {
        "client",
        "config",
        "errors",
        "wire",
        "server",
        "embedded",
        "cli",
        "tools",
        "mcp",
        "agentkit",
        "guard",
    }
    public = {name for name in vars(trove_agents) if not name.startswith("_")} - modules - {"TYPE_CHECKING"}
    assert public <= set(trove_agents.__all__)


@pytest.mark.parametrize("name", trove_agents.__all__)
def test_every_name_is_there(name: str) -> None:
    assert getattr(trove_agents, name) is not None
    assert name in dir(trove_agents)


def test_other_names_are_not() -> None:
    with pytest.raises(AttributeError, match="no attribute 'Nothing'"):
        trove_agents.Nothing
    with pytest.raises(ImportError):
        from trove_agents import Nothing  # noqa: F401


@pytest.mark.parametrize("name", ["Trove", "connect"])
def test_without_the_extra_the_embedded_server_says_what_to_install(name: str) -> None:
    code = f"""
import sys
sys.modules["starlette"] = sys.modules["sqlalchemy"] = None
try:
    from trove_agents import {name}
except ImportError as error:
    print(error)
"""
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=60
    )
    assert done.stdout.startswith(f"{name} brings its own server")
    assert "pip install 'trove-agents[server]'" in done.stdout


def test_that_is_an_import_error_here_too(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "trove_agents.embedded", None)
    monkeypatch.delattr(trove_agents, "embedded", raising=False)
    with pytest.raises(ImportError, match=r"connect brings its own server"):
        trove_agents.connect


def loaded_after(code: str) -> set[str]:
    script = f"import sys\n{code}\nprint(*(name for name in {HEAVY!r} if name in sys.modules))"
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=True, timeout=60
    )
    return set(done.stdout.split())


def test_importing_loads_nothing_heavy() -> None:
    assert loaded_after("import trove_agents") == set()


def test_a_client_in_process_loads_no_http_library() -> None:
    code = """
import trove_agents
class Nowhere:
    retries = False
trove_agents.TroveClient("k", "ns", transport=Nowhere())
"""
    assert loaded_after(code) == set()


def test_a_client_over_a_network_loads_no_server() -> None:
    loaded = loaded_after("import trove_agents; trove_agents.TroveClient('k', 'ns').close()")
    assert "httpx" in loaded
    assert not loaded & set(HEAVY[5:12])
    assert not {name for name in loaded if name.startswith("trove_agents")}


def test_one_module_imports_the_http_library() -> None:
    folder = Path(trove_agents.__file__).parent
    users = {
        str(path.relative_to(folder))
        for part in ("client", "wire", "config.py", "errors.py", "__init__.py")
        for path in [folder / part, *(folder / part).glob("**/*.py")]
        if path.is_file() and re.search(r"^\s*(import|from) httpx", path.read_text(), re.MULTILINE)
    }
    assert users == {"client/network.py"}
