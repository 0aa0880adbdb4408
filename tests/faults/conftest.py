"""Real servers that are cheap to start, so that they can be killed often."""

import json
import os
import signal
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import httpx
import pytest

pytest.register_assert_rewrite(f"{__package__}.callers")
SOAK = int(os.environ.get("TROVE_SOAK", 0))


@dataclass
class Running:
    """One server process."""

    stem: "Stem"
    process: int
    base_url: str
    key: str
    admin_key: str
    workspace_id: str

    def http(self, namespace=None, **more):
        named = {} if namespace is None else {"X-Namespace": namespace}
        return httpx.Client(
            base_url=self.base_url,
            headers={"Authorization": f"Bearer {self.key}", **named},
            timeout=60,
            trust_env=False,
            verify=False,  # nothing here is https, and reading the certificates takes longer than most calls
            **more,
        )

    def events(self, since="2000-01-01T00:00:00Z", **query):
        """Oldest first."""
        found, query = [], {"since": since, **query}
        with self.http() as http:
            while True:
                page = http.get(
                    f"/v1/workspaces/{self.workspace_id}/events",
                    params=query,
                    headers={"Authorization": f"Bearer {self.admin_key}"},
                )
                page = page.raise_for_status().json()
                found += page["events"]
                if page["next_cursor"] is None:
                    return found[::-1]
                query["cursor"] = page["next_cursor"]

    def kill(self):
        os.kill(self.process, signal.SIGKILL)
        self.stem.end(self.process)

    def stop(self):
        os.kill(self.process, signal.SIGTERM)
        assert self.stem.end(self.process) == 0


class Stem:
    """What servers are forked from, with the log that they all write."""

    def __init__(self, log: Path):
        self.log = log
        with log.open("ab") as out:
            self._process = subprocess.Popen(
                [sys.executable, Path(__file__).with_name("stem.py")],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=out,
                text=True,
                env={name: value for name, value in os.environ.items() if not name.startswith("TROVE_")},
            )

    def serve(self, folder, sandbox="best"):
        told = self._ask(f"serve {folder} {sandbox}")
        assert told.strip(), self.log.read_text()
        return Running(self, **json.loads(told))

    def end(self, process):
        """Its status, as ``waitpid`` gives it."""
        return int(self._ask(f"end {process}"))

    def _ask(self, line):
        self._process.stdin.write(line + "\n")
        self._process.stdin.flush()
        return self._process.stdout.readline()

    def close(self):
        self._process.stdin.close()
        self._process.wait(60)
        self._process.stdout.close()


@pytest.fixture(scope="module")
def stem(tmp_path_factory):
    """For all servers of a module: it takes as long to start as several of these."""
    log = tmp_path_factory.mktemp("stem") / "log"
    stem = Stem(log)
    yield stem
    stem.close()
    said = log.read_text()
    assert "Traceback" not in said, said


@pytest.fixture(scope="session")
def rounds():
    """How many rounds of what is repeated: a few, or with ``TROVE_SOAK=200`` 200."""
    return lambda few: SOAK or few


@pytest.fixture(scope="session")
def isolates():
    from trove_agents.server.sandbox import probe

    return probe(None).ok
