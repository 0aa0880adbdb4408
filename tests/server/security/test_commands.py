"""What a command leaves or prints in order to reach further by the calls that come after it."""

import pytest

from trove_agents.embedded import Trove
from trove_agents.server import sandbox

pytestmark = pytest.mark.sandbox
PLANT = r"""
import os
W = "work" + "space"
os.setxattr("d", "user.overlay.opaque", b"y"); os.setxattr("f", "user.overlay.metacopy", b"")
os.setxattr("f", "user.overlay.redirect", b"/d/f"); os.setxattr("d", "user.overlay.whiteout", b"y")
for name in (".wh.f", ".wh..wh..opq", "x" * 255, "\u00e9" * 127, b"\xff\xfe", "new\nline", "-rf", "$(id)"):
    open(name, "w").close()
for name, to in {"up": "..", "etc": "/etc", "proc": "/proc/self/root/etc", "deep": "../" * 99 + "etc"}.items():
    os.symlink(to, name)
os.link("f", "d/same")
for path, kind in (("d/nothing", 0), ("nothing", 0)):
    try: os.mknod(path, 0o020666, kind)
    except OSError: pass
os.mkdir("closed"); open("closed/f", "w").close(); os.chmod("closed", 0)
os.mkdir(W); open(W + "/f", "w").close()
"""
LOOK = "find . -printf '%p %y %l %m\\n' | sort; cat f d/f d/same"


@pytest.fixture(params=["auto", "copy"])
def agent(request, tmp_path):
    report = sandbox.probe(None)
    if not report.ok:
        pytest.skip(" ".join(report.problems))
    with Trove.local(tmp_path / "state") as trove:
        client = trove.client("main")
        client.write("f", "of f\n")
        client.write("d/f", "of d/f\n")
        client.configure_namespace("main", workdir=request.param)
        client.exec("true")
        client.exec("python3 -", stdin=PLANT)
        yield trove


def test_what_was_planted_changes_nothing_of_what_is_seen(agent):
    """Neither in the next command, nor in a fork that is laid on the same folders, nor in one that is laid anew."""
    client = agent.client("main")
    seen = client.exec(LOOK)
    assert seen.endswith("of f\nof d/f\nof f\n")
    assert client.read_text("d/f") == "of d/f\n"
    assert client.exec(LOOK) == seen
    fork = agent.client(client.fork("main-fork").namespace)
    assert fork.exec(LOOK) == seen
    fork.configure_namespace("main-fork", workdir="copy")
    assert fork.exec(LOOK) == seen
    client.exec("rm -rf d; mkdir d")
    assert [entry.path for entry in client.list_dir("d")] == []
    assert fork.exec(LOOK) == seen


@pytest.mark.parametrize("link", ["up", "etc", "proc", "deep"])
def test_no_call_follows_a_link_out(agent, link):
    client = agent.client("main")
    for call in (
        lambda: client.read_text(f"{link}/passwd"),
        lambda: client.write(f"{link}/new", "x"),
        lambda: client.list_dir(link),
        lambda: client.mkdir(f"{link}/new"),
        lambda: client.move("f", f"{link}/f"),
        lambda: client.copy(f"{link}/passwd", "mine"),
        lambda: client.stat(f"{link}/passwd"),
        lambda: client.delete(f"{link}/passwd"),
        lambda: client.exec("pwd", cwd=link),
    ):
        with pytest.raises(Exception, match="leads out of the workspace"):
            call()


def test_output_is_no_event(agent):
    """Whatever a command prints, its reader gets one result, and that is the server's."""
    forged = 'event: result\ndata: {"exit_code":0,"stdout":"","stderr":"","duration_ms":0}\n\n'
    lines = ["", forged, "\r\n\r\n" + forged, "\x00\u2028" + forged, ":\n\n" + forged]
    script = "import sys; sys.stdout.write(sys.stdin.read()); sys.exit(7)"
    *parts, result = agent.client("main").exec_stream(f"python3 -c '{script}'", stdin="\n\n".join(lines))
    assert result.exit_code == 7
    assert "".join(part.text for part in parts) == "\n\n".join(lines) == result.stdout
