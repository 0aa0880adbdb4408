"""A disk that is really full: a state directory on a small file system. What does not fit is refused with 507 and
changes nothing, what was answered stays, and with room again everything goes on.
"""

import ctypes
import os

import pytest

from trove_agents.embedded import Trove
from trove_agents.server.settings import Settings

from ..server.conftest import Api

_libc = ctypes.CDLL(None, use_errno=True)


@pytest.fixture
def small(tmp_path):
    """A folder with a file system of 48 MB."""
    place = tmp_path / "small"
    place.mkdir()
    mounted = _libc.mount(b"tmpfs", os.fsencode(place), b"tmpfs", 0, b"size=48m,mode=700")
    if mounted != 0:
        pytest.skip(f"no file system can be mounted here: {os.strerror(ctypes.get_errno())}")
    yield place
    assert _libc.umount2(os.fsencode(place), 2) == 0


class Ballast:
    """What fills the rest of it."""

    def __init__(self, folder):
        self.file = folder / "ballast"

    def leave(self, room):
        """All but so many bytes are taken."""
        self.free()
        about = os.statvfs(self.file.parent)
        size = max(about.f_bavail * about.f_frsize - room, 0)
        with self.file.open("wb") as file:
            os.posix_fallocate(file.fileno(), 0, max(size, 1))

    def free(self):
        self.file.unlink(missing_ok=True)


def files(api):
    listing = api.list(recursive=True).json["entries"]
    paths = [entry["path"].removeprefix("workspace/") for entry in listing if not entry["is_dir"]]
    return {path: api.get(path).body for path in paths}


def acts(number, snapshot):
    """What callers do, with what is there afterwards."""
    word = f"{number} ".encode()
    return {
        "write": (
            lambda api: api("POST", "/write", body={"path": "f", "content": word.decode() * 4000}),
            {"f": word * 4000},
        ),
        "upload": (lambda api: api.put("large", word * 50_000), {"large": word * 50_000}),
        "snapshot": (lambda api: api("POST", "/v1/snapshots", body={}), {}),
        "copy": (
            lambda api: api(
                "POST", "/v1/files/copy", body={"from": "f", "to": f"copies/{number}", "overwrite": True}
            ),
            None,
        ),
        "restore": (lambda api: api("POST", f"/v1/snapshots/{snapshot}/restore"), None),
    }


@pytest.mark.parametrize("seed", range(2))
def test_at_every_step(small, seed):
    """The room that is left grows little by little: each time another step is the first that fails."""
    ballast = Ballast(small)
    with Trove(Settings(small / "state", sandbox="none")) as trove:
        api = Api(trove)
        api.write("f", "old")
        api.put("large", b"old" * 10_000)
        begun, snapshot = files(api), api.snapshot()["snapshot_id"]
        answered, refused = 0, set()
        for number, room in enumerate([0, 4, 8, 16, 32, 64, 128, 512, 1024, 2048] * 2):
            for name, (act, changes) in acts(number + seed * 1000, snapshot).items():
                before, told = files(api), len(api.events()["events"])
                ballast.leave(room * 1024)
                answer = act(api)
                there = files(api)  # with the disk still full
                ballast.free()
                if answer.status == 507:
                    refused.add(name)
                    assert there == before
                    assert len(api.events()["events"]) == told
                else:
                    assert answer.status in (200, 201), (name, room, answer.body)
                    answered += 1
                    if name == "copy":
                        changes = {f"copies/{number + seed * 1000}": before["f"]}
                    assert there == (begun if name == "restore" else {**before, **changes})
                assert act(api).status in (200, 201), (name, room)
        assert refused >= {"write", "upload"} and answered
        whole = files(api)
        incoming = small / "state" / "blobs" / "incoming"
        assert list(incoming.iterdir()) == []
    with Trove(Settings(small / "state", sandbox="none")) as trove:
        assert files(Api(trove)) == whole


@pytest.mark.sandbox
def test_a_command_that_fills_it(small):
    ballast = Ballast(small)
    with Trove(Settings(small / "state")) as trove:
        if not trove.report().ok:
            pytest.skip("this machine cannot isolate commands")
        api = Api(trove)
        api.write("f", "old")
        assert api("POST", "/v1/exec", body={"command": "cat f"}).json["stdout"] == "old"
        kept = 0
        for room in [0, 16, 64, 256, 1024, 4096]:
            ballast.leave(room * 1024)
            answer = api(
                "POST",
                "/v1/exec",
                body={"command": "rm -f g; head -c 700000 /dev/urandom > g && echo new > f"},
            )
            there = files(api)
            ballast.free()
            assert answer.status in (200, 413, 507), (room, answer.body)
            if answer.status != 200:
                assert there == {"f": b"old"}
            elif answer.json["exit_code"] == 0:
                kept += 1
                assert there["f"] == b"new\n" and len(there["g"]) == 700_000
            again = api("POST", "/v1/exec", body={"command": "rm -f g; echo -n old > f; ls"})
            assert (again.status, again.json["stdout"]) == (200, "f\n"), again.body
            assert files(api) == {"f": b"old"}
        assert kept
