"""Whole servers: ``trove-agents serve`` in processes of their own, killed and started again as a test needs it."""

import json
import os
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path

import httpx
import pytest
import trove_sdk

import trove_agents


@dataclass
class Server:
    """One state directory, served."""

    folder: Path
    process: subprocess.Popen | None = None
    options: tuple = ()

    def start(self) -> "Server":
        log = self.folder / "serve.log"
        credentials = self.folder / "credentials.json"
        with log.open("ab") as out:
            self.process = subprocess.Popen(
                [
                    Path(sys.executable).parent / "trove-agents",
                    "serve",
                    "--port",
                    "0",
                    "--data",
                    self.folder / "state",
                    "--credentials-file",
                    credentials,
                    *self.options,
                ],
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=subprocess.STDOUT,
                env={"PATH": os.environ["PATH"], "HOME": str(self.folder)},
            )
        for _ in range(1200):
            if self.process.poll() is not None:
                break
            try:
                found = json.loads(credentials.read_bytes())
                if httpx.get(f"{found['base_url']}/healthz").status_code == 200:
                    self.base_url, self.workspace_id = found["base_url"], found["workspace_id"]
                    self.key, self.admin_key = found["key"], found["admin_key"]
                    return self
            except (FileNotFoundError, httpx.TransportError):
                pass
            time.sleep(0.05)
        self.kill()
        pytest.fail(f"the server did not start:\n{log.read_text()}")

    def stop(self) -> None:
        self.process.terminate()
        assert self.process.wait(60) == 0
        assert "Traceback" not in (said := (self.folder / "serve.log").read_text()), said

    def kill(self) -> None:
        self.process.kill()
        self.process.wait(60)

    def client(self, namespace: str = "main") -> trove_agents.TroveClient:
        return trove_agents.TroveClient(self.key, namespace, base_url=self.base_url)

    def async_client(self, namespace: str = "main") -> trove_agents.AsyncTroveClient:
        return trove_agents.AsyncTroveClient(self.key, namespace, base_url=self.base_url)

    def sdk(self, namespace: str = "main") -> trove_sdk.TroveClient:
        return trove_sdk.TroveClient(self.key, namespace, base_url=self.base_url)

    def events(self, **query) -> list[dict]:
        """All of them under the filters, oldest first."""
        found = []
        with httpx.Client(
            base_url=self.base_url, headers={"Authorization": f"Bearer {self.admin_key}"}
        ) as http:
            while True:
                page = (
                    http.get(f"/v1/workspaces/{self.workspace_id}/events", params=query)
                    .raise_for_status()
                    .json()
                )
                found += page["events"]
                if page["next_cursor"] is None:
                    return found[::-1]
                query["cursor"] = page["next_cursor"]


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    """Shared by the tests of a module."""
    server = Server(tmp_path_factory.mktemp("server")).start()
    yield server
    server.stop()


@pytest.fixture
def own_server(tmp_path):
    """For tests that end it their own way."""
    server = Server(tmp_path).start()
    yield server
    if server.process.poll() is None:
        server.stop()


@pytest.fixture(autouse=True)
def _commands(request):
    if request.node.get_closest_marker("sandbox"):
        from trove_agents.server.sandbox import probe

        report = probe(None)
        if not report.ok:
            pytest.skip("this machine cannot isolate commands: " + "; ".join(report.problems))
