"""What commands see of an overlay, in a real sandbox: docs/working-copies.md holds what is tested here."""

import asyncio
import os

import pytest

from trove_agents.server.exec.overlay.trial import trial

from .conftest import Shell, choose, gates

pytestmark = pytest.mark.sandbox


@pytest.fixture
def sh(bench, tmp_path):
    refused = trial(tmp_path, choose("bubblewrap"))
    if refused is not None:
        pytest.skip(f"no overlays: {refused}")
    shell = Shell(bench, "bubblewrap")
    yield shell
    shell.close()


def python(text):
    return f"python3 - <<'END'\nimport errno, os\n{text}\nEND"


def contents(bench):
    return {path: what[2] for path, what in bench.store().items() if what[0] == "file"}


async def test_a_directory_that_was_there_cannot_be_renamed_but_moved(sh, bench):
    bench.put("old/sub/f", b"f")
    tried = python(
        "try:\n    os.rename('old', 'new')\nexcept OSError as error:\n    print(errno.errorcode[error.errno])"
    )
    assert await sh.out(tried) == "EXDEV\n"
    await sh.out("mkdir -p made/sub && echo 1 > made/sub/g && mv made made2 && mv old new")
    assert contents(bench) == {"new/sub/f": b"f", "made2/sub/g": b"1\n"}
    assert await sh.out("find . -type f | sort") == "./made2/sub/g\n./new/sub/f\n"


async def test_a_file_that_was_there_is_copied_by_its_first_change(sh, bench):
    """All of it, into the folder of the command; whoever opens it then finds the change."""
    bench.put("f", b"old\n" * 5000)
    await sh.out("true")
    before = {path: path.read_bytes() for path in (bench.folder / "copies" / "overlay").glob("*/*/f")}
    change = "with open('f', 'r+') as file:\n    file.write('new')\nprint(open('f').read(3))"
    assert await sh.out(python(change)) == "new\n"
    assert contents(bench)["f"] == b"new\n" + b"old\n" * 4999
    after = {path: path.read_bytes() for path in (bench.folder / "copies" / "overlay").glob("*/*/f")}
    assert list(before.values()) == [b"old\n" * 5000] and before.items() < after.items()
    assert sorted(map(len, after.values())) == [20_000, 20_000], "copied whole for three bytes"


async def test_a_change_gives_a_file_another_inode_number(sh, bench):
    bench.put("f", b"old")
    first = await sh.out("stat -c %i f")
    await sh.out("stat -c %i f; echo more >> f")
    assert await sh.out("stat -c %i f") != first


async def test_hard_links_hold_for_one_command(sh, bench):
    bench.put("f", b"1\n")
    assert await sh.out("ln f g && echo 2 >> g && cat f && stat -c %h f") == "1\n2\n2\n"
    assert await sh.out("echo 3 >> g && cat f && stat -c %h f") == "1\n2\n1\n"
    assert contents(bench) == {"f": b"1\n2\n", "g": b"1\n2\n3\n"}


async def test_attributes_that_a_command_sets_are_not_marks(sh, bench):
    """The kernel keeps its own names to itself; what a command puts there does nothing now or later."""
    for path in ("d/f", "e/f", "g"):
        bench.put(path, b"kept")
    names = ("opaque", "redirect", "metacopy", "origin", "overlay.opaque")
    text = (
        "for path in ('d', 'e', 'g'):\n"
        f"    for name in {names}:\n"
        "        for space in ('user', 'trusted'):\n"
        "            try:\n                os.setxattr(path, f'{space}.overlay.{name}', b'y' if name != 'redirect' else b'/e')\n"
        "            except OSError:\n                pass\n"
        "for number in (0, os.makedev(1, 3)):\n"
        "    try:\n        os.mknod('d/f', 0o20600, number)\n    except OSError:\n        print('refused')"
    )
    for _ in range(2):
        assert await sh.out(python(text)) == "refused\nrefused\n"
        await sh.out("touch d/new e/new; rm d/new e/new")
        assert contents(bench) == {"d/f": b"kept", "e/f": b"kept", "g": b"kept"}
        assert await sh.out("cat d/f e/f g") == "kept" * 3
    bench.put("d/theirs", b"t")
    assert await sh.out("ls d") == "f\ntheirs\n"


async def test_a_killed_command_leaves_nothing_behind(sh, bench):
    """Not even the folder that the kernel closes to everybody."""
    bench.put("f", b"f")
    await sh.out("true")
    running = asyncio.create_task(sh("echo more >> f; mkdir -m 0 closed; touch started; sleep 60"))
    await gates(bench)
    running.cancel()
    with pytest.raises(asyncio.CancelledError):
        await running
    assert contents(bench) == {"f": b"f"}
    assert await sh.out("ls; cat f") == "f\nf"
    sh.service.close()
    place = bench.folder / "copies" / "overlay" / "0"
    assert not [path for path in place.rglob("*") if path.name in {"closed", "started", "#"}]


async def test_mounts_tell_nothing_but_random_names(sh, bench):
    mounts = await sh.out("grep ' /workspace ' /proc/self/mountinfo")
    lowers = mounts.split("lowerdir=")[1].split(",upperdir=")[0]
    names = [os.path.basename(path) for path in lowers.split(":")]
    assert all(len(name) == 24 and name.isalnum() for name in names), names
    assert "userxattr" in mounts and "redirect_dir=nofollow" in mounts and "metacopy=on" not in mounts
    assert "main" not in mounts and "ws-0" not in mounts


async def test_a_command_reaches_no_folder_of_another_namespace(sh, bench):
    await sh("echo secret > mine", namespace="one")
    tried = (
        f"find / -name mine 2>/dev/null; ls {bench.folder} 2>&1 | head -1; "
        "find /proc/*/root/oldroot /oldroot /newroot -maxdepth 1 2>/dev/null; true"
    )
    result = await sh(tried, namespace="two")
    assert "mine" not in result.stdout and "cannot access" in result.stdout
    assert result.stdout.count("\n") == 1
