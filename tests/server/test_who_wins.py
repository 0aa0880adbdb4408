"""Who wins when others use a namespace while a command runs in it, over both forms of working copies. What is put where by whom is tried in every combination in ``exec/test_ingest.py``."""

import itertools
import time
from concurrent.futures import ThreadPoolExecutor

import pytest

from trove_agents.embedded import Trove
from trove_agents.server.settings import Settings

from .conftest import Api
from .exec.conftest import GATE, inside

NUMBERS = itertools.count()
pytestmark = pytest.mark.sandbox


@pytest.fixture(scope="module", params=["overlay", "copy"])
def house(request, tmp_path_factory):
    with Trove(Settings(tmp_path_factory.mktemp("house"))) as trove:
        report = trove.report()
        if not report.ok:
            pytest.skip("this machine cannot isolate commands: " + "; ".join(report.problems))
        if request.param == "overlay" and report.working_copies != "overlay":
            pytest.skip(f"no overlays here: {report.working_copies}")
        yield trove, request.param


@pytest.fixture
def api(house):
    trove, form = house
    api = Api(trove, namespace=f"n{next(NUMBERS)}")
    for path in ("d/a", "d/b", "f"):
        api.write(path, "old")
    if form == "copy":
        answer = api("PATCH", f"/v1/namespaces/{api.namespace}", body={"workdir": "copy"}, namespace=None)
        assert answer.status == 200, answer.body
    return api


class Running:
    """A command that waits until it is let go on."""

    def __init__(self, api, command):
        self.pool = ThreadPoolExecutor(2)
        self.answer = self.pool.submit(
            api, "POST", "/v1/exec", body={"command": f"{GATE}; {command}", "timeout": 60}
        )
        self.folder = api.trove.folder
        while not self.places():
            assert not self.answer.done(), self.answer.result().body
            time.sleep(0.005)

    def places(self):
        """Where it waits, in the eyes of one of its processes."""
        return [*self.folder.glob("copies/*/*/started"), *inside(self.folder)]

    def ends(self):
        while not self.answer.done():
            try:
                for started in self.places():
                    started.with_name("gate").touch()
                    return self.answer.result()
            except FileNotFoundError:  # that process was one of those that come and go
                continue
        return self.answer.result()

    def __enter__(self):
        return self

    def __exit__(self, *raised):
        if not self.answer.done():
            self.ends()
        self.pool.shutdown()


def files(api, **more):
    listing = api.list(recursive=True, **more).json["entries"]
    found = {}
    for entry in listing:
        path = entry["path"].removeprefix("workspace/")
        found[path] = None if entry["is_dir"] else api.get(path, **more).body.decode().strip()
    return found


OLD = {"d": None, "d/a": "old", "d/b": "old", "f": "old"}


def write(path):
    return ("POST", "/write", {"path": path, "content": "theirs"})


def call(verb, **body):
    return ("POST", verb, {name.rstrip("_"): value for name, value in body.items()})


CASES = {
    # name: the command, what others do meanwhile, whose changes are no more, what is there then
    "apart": ("echo ours > g", [write("h")], [], {**OLD, "g": "ours", "h": "theirs"}),
    "write": ("echo ours > f", [write("f")], ["f"], {**OLD, "f": "ours"}),
    "upload": ("echo ours > f", [("PUT", "/files/f", None)], ["f"], {**OLD, "f": "ours"}),
    "delete": (
        "echo ours > d/a",
        [call("/delete", path="d")],
        ["d/a"],
        {"d": None, "d/a": "ours", "f": "old"},
    ),
    "move away": (
        "echo ours > d/a",
        [call("/v1/files/move", from_="d", to="e")],
        ["d/a"],
        {"d": None, "d/a": "ours", "e": None, "e/a": "old", "e/b": "old", "f": "old"},
    ),
    "move over": (
        "echo ours > f",
        [call("/v1/files/move", from_="d/a", to="f", overwrite=True)],
        ["f"],
        {"d": None, "d/b": "old", "f": "ours"},
    ),
    "copy": (
        "mkdir e; echo ours > e/a",
        [call("/v1/files/copy", from_="d", to="e")],
        ["e/a"],
        {**OLD, "e": None, "e/a": "ours", "e/b": "old"},
    ),
    "removed against written": ("rm -r d", [write("d/a")], ["d/a"], {"f": "old"}),
    "removed against new": ("rm -r d", [write("d/c")], [], {"d": None, "d/c": "theirs", "f": "old"}),
    "directory over file": (
        "mkdir n; echo ours > n/x",
        [write("n")],
        ["n"],
        {**OLD, "n": None, "n/x": "ours"},
    ),
    "file over directory": ("echo ours > n", [write("n/x")], ["n", "n/x"], {**OLD, "n": "ours"}),
    "file over empty directory": (
        "echo ours > n",
        [call("/v1/files/mkdir", path="n")],
        ["n"],
        {**OLD, "n": "ours"},
    ),
    "directory made a file": (
        "echo ours > d/c",
        [call("/delete", path="d"), write("d")],
        ["d"],
        {"d": None, "d/c": "ours", "f": "old"},
    ),
    "file made a directory": (
        "echo ours > f",
        [call("/delete", path="f"), write("f/x")],
        ["f", "f/x"],
        {"d": None, "d/a": "old", "d/b": "old", "f": "ours"},
    ),
}


@pytest.mark.parametrize("name", CASES)
def test_files(api, name):
    command, acts, conflicts, there = CASES[name]
    with Running(api, command) as running:
        for method, path, body in acts:
            answer = api(method, path, body=body, data=b"theirs" if body is None else None)
            assert answer.status == 200, answer.body
        assert not running.answer.done()
        answer = running.ends()
    assert (answer.status, answer.json["exit_code"]) == (200, 0), answer.body
    assert answer.json.get("conflicts", []) == [f"workspace/{path}" for path in conflicts]
    assert files(api) == there
    # And the next command finds what the store says
    found = api("POST", "/v1/exec", body={"command": "find workspace/* -type f | sort | xargs -r cat"}).json[
        "stdout"
    ]
    assert found.replace("\n", "") == "".join(
        there[path] for path in sorted(there) if there[path] is not None
    )


def test_states_that_are_taken_meanwhile_show_nothing_of_it(api):
    with Running(api, "echo ours > f; rm -r d") as running:
        snapshot = api.snapshot()["snapshot_id"]
        reference = api("POST", "/v1/references").json["reference_id"]
        fork = api("POST", "/v1/forks", body={"namespace": f"{api.namespace}-fork"}).json["namespace"]
        assert not running.answer.done()
        assert running.ends().status == 200
    assert files(api) == {"f": "ours"}
    for state in (snapshot, reference):
        assert [api.get("f", query={"at": state}).body, api.get("d/a", query={"at": state}).body] == [
            b"old"
        ] * 2
    assert files(api, namespace=fork) == OLD


@pytest.mark.parametrize("way", ["snapshot", "any state"])
def test_going_back_waits_and_wins(api, way):
    snapshot = api.snapshot()["snapshot_id"]
    with Running(api, "echo ours > f; rm -r d") as running:
        call = (f"/v1/snapshots/{snapshot}/restore",) if way == "snapshot" else ("/v1/restore",)
        body = None if way == "snapshot" else {"to": snapshot}
        going = running.pool.submit(api, "POST", *call, body=body)
        api.write("g", "theirs")
        assert not going.done() and not running.answer.done()
        assert running.ends().status == 200
        assert going.result().status == 200
    assert files(api) == OLD
    told = [event["type"] for event in api.events(namespace=api.namespace)["events"]]
    assert told.index("exec.completed") == 1  # newest first


def test_deleting_the_namespace_waits_and_wins(api):
    with Running(api, "echo ours > f") as running:
        going = running.pool.submit(api, "DELETE", f"/v1/namespaces/{api.namespace}", namespace=None)
        assert running.ends().status == 200
        assert going.result().status == 200
    assert api.list().json["entries"] == []
    api.write("new", "new")
    assert api("POST", "/v1/exec", body={"command": "cat workspace/*"}).json["stdout"] == "new"


def test_a_lease_that_was_given_meanwhile_wins(api):
    with Running(api, "echo ours > f; rm -r d") as running:
        lease = api("POST", "/v1/leases").json["lease_id"]
        held = [("X-Trove-Lease", lease)]
        api.write("g", "theirs", headers=held)
        answer = running.ends()
    assert (answer.status, answer.json["code"]) == (409, "workspace-leased")
    assert files(api) == {**OLD, "g": "theirs"}
    answer = api("POST", "/v1/exec", body={"command": "cat workspace/f workspace/g"}, headers=held)
    assert answer.json["stdout"] == "oldtheirs"
