"""``trove-agents serve`` in a process of its own, and the unmodified public SDK pointed at it.

One server for the session; every test has a workspace of its own on it, so tests share nothing but the server.
"""

import asyncio
import contextlib
import inspect
import json
import os
import secrets
import subprocess
import sys
import threading
import time
from dataclasses import dataclass
from pathlib import Path

import httpx
import pytest
import trove_sdk

from .lines import Line

BIN = Path(sys.executable).parent


def plain(base_url: str, headers: dict[str, str] | None = None) -> httpx.Client:
    """Without the certificates that httpx loads otherwise: most of the time that a small test takes."""
    return httpx.Client(base_url=base_url, headers=headers, timeout=60, verify=False)


class Served:
    """The server's process. It lets strangers sign up: that is how tests get their workspaces."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.log = folder / "serve.log"
        self.canary = "canary-of-the-servers-own-environment"
        credentials = folder / "credentials.json"
        with self.log.open("wb") as log:
            self.process = subprocess.Popen(
                [
                    BIN / "trove-agents",
                    "serve",
                    "--port",
                    "0",
                    "--data",
                    folder / "state",
                    "--credentials-file",
                    credentials,
                    "--open-signup",
                ],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                env={"PATH": os.environ["PATH"], "HOME": str(folder), "SECRET_OF_THE_SERVER": self.canary},
            )
        for _ in range(600):
            if self.process.poll() is not None:
                break
            if credentials.exists() and self._answers(
                base_url := json.loads(credentials.read_bytes())["base_url"]
            ):
                self.base_url = base_url
                return
            time.sleep(0.05)
        self.stop()
        pytest.fail(f"the server did not start:\n{self.log.read_text()}")

    @staticmethod
    def _answers(base_url: str) -> bool:
        try:
            with plain(base_url) as http:
                return http.get("/healthz").status_code == 200
        except httpx.TransportError:
            return False

    def stop(self) -> int:
        self.process.terminate()
        return self.process.wait(60)


@dataclass(frozen=True)
class Workspace:
    base_url: str
    workspace_id: str
    key: str
    admin_key: str

    def http(self, namespace: str | None = "main", key: str | None = None) -> httpx.Client:
        """Plain HTTP with a key and a namespace, for what the SDK does not show."""
        headers = {"Authorization": f"Bearer {key or self.key}"}
        if namespace is not None:
            headers["X-Namespace"] = namespace
        return plain(self.base_url, headers)

    def events(self, **query) -> list[dict]:
        """All events under the filters, newest first, through the pages."""
        found = []
        with self.http(None, self.admin_key) as http:
            while True:
                page = (
                    http.get(f"/v1/workspaces/{self.workspace_id}/events", params=query)
                    .raise_for_status()
                    .json()
                )
                found += page["events"]
                if page["next_cursor"] is None:
                    return found
                query["cursor"] = page["next_cursor"]


class Waiting:
    """An async client whose methods wait, so that one test drives both colours."""

    def __init__(self, client, runner: asyncio.Runner) -> None:
        self._client = client
        self._runner = runner

    def __getattr__(self, name):
        found = getattr(self._client, name)
        if not inspect.iscoroutinefunction(found):
            return found
        return lambda *args, **kwargs: self._runner.run(found(*args, **kwargs))


class Colour:
    """Makes the SDK's clients, sync or async, and closes them after the test."""

    def __init__(self, name: str, base_url: str) -> None:
        self.name = name
        self.base_url = base_url
        self._runner = asyncio.Runner() if name == "async" else None
        self._made = []

    def client(self, key: str, namespace: str):
        kind = trove_sdk.TroveClient if self._runner is None else trove_sdk.AsyncTroveClient
        return self._keep(kind(key, namespace, base_url=self.base_url))

    def admin(self, key: str, workspace_id: str):
        kind = trove_sdk.TroveAdminClient if self._runner is None else trove_sdk.AsyncTroveAdminClient
        return self._keep(kind(key, workspace_id, base_url=self.base_url))

    def admin_from_api_key(self, key: str):
        if self._runner is None:
            return self._keep(trove_sdk.TroveAdminClient.from_api_key(key, base_url=self.base_url))
        return self._keep(
            self._runner.run(trove_sdk.AsyncTroveAdminClient.from_api_key(key, base_url=self.base_url))
        )

    def close(self) -> None:
        for client in self._made:
            client.close() if self._runner is None else self._runner.run(client.aclose())
        if self._runner is not None:
            self._runner.close()

    def _keep(self, client):
        self._made.append(client)
        return client if self._runner is None else Waiting(client, self._runner)


@pytest.fixture(scope="session")
def served(tmp_path_factory):
    server = Served(tmp_path_factory.mktemp("served"))
    yield server
    status = server.stop()
    said = server.log.read_text()
    assert status == 0, said
    assert "Traceback" not in said, said


@pytest.fixture(scope="session")
def new_workspace(served):
    with plain(served.base_url) as http:

        def make() -> Workspace:
            made = http.post("/v1/workspaces", json={"name": "test"}).raise_for_status().json()
            return Workspace(served.base_url, made["workspace_id"], made["api_key"], made["admin_key"])

        yield make


@pytest.fixture
def workspace(new_workspace):
    return new_workspace()


@pytest.fixture(params=["sync", "async"])
def colour(request, served):
    colour = Colour(request.param, served.base_url)
    yield colour
    colour.close()


@pytest.fixture
def client(colour, workspace):
    """The SDK's runtime client, of either colour."""
    return colour.client(workspace.key, "main")


@pytest.fixture
def admin(colour, workspace):
    """The SDK's admin client, of either colour."""
    return colour.admin(workspace.admin_key, workspace.workspace_id)


@pytest.fixture
def sync(workspace):
    """The SDK's sync client, for tests in which the colour cannot matter."""
    with trove_sdk.TroveClient(workspace.key, "main", base_url=workspace.base_url) as client:
        yield client


@pytest.fixture(scope="session")
def why_no_commands(new_workspace):
    """None where this machine can isolate commands."""
    with new_workspace().http() as http:
        answer = http.post("/v1/exec", json={"command": "true"})
    if answer.status_code == 501:
        return answer.json()["detail"]
    assert answer.status_code == 200, answer.text
    return None


class Overdue:
    """A command that will run past its limit. It begins with the session: the other tests run while it waits."""

    def __init__(self, workspace: Workspace) -> None:
        self.workspace = workspace
        self.sleep = f"98.{secrets.randbelow(10**12)}"
        """Told apart from every other sleep of this machine."""
        self.error: Exception | None = None
        self.seconds = 0.0
        self.thread = threading.Thread(target=self._run)
        self.thread.start()

    def _run(self) -> None:
        with trove_sdk.TroveClient(self.workspace.key, "main", base_url=self.workspace.base_url) as client:
            started = time.monotonic()
            try:
                client.exec_chain(["echo done > step-1", f"sleep {self.sleep}", "echo done > step-2"])
            except trove_sdk.TroveError as error:
                self.error = error
            self.seconds = time.monotonic() - started


@pytest.fixture(scope="session")
def overdue(new_workspace):
    command = Overdue(new_workspace())
    yield command
    command.thread.join()


@pytest.fixture(autouse=True)
def _commands(request):
    if request.node.get_closest_marker("sandbox") and (why := request.getfixturevalue("why_no_commands")):
        pytest.skip(f"this machine cannot isolate commands: {why}")


@pytest.fixture
def connect(workspace):
    with contextlib.ExitStack() as stack:

        def connect(key=None) -> Line:
            line = Line(workspace, key)
            stack.callback(line.close)
            return line

        yield connect


@pytest.fixture
def line(connect):
    return connect()


@pytest.fixture
def http(workspace):
    with workspace.http() as http:
        yield http
