"""Where control groups are looked for, from what /proc says."""

import subprocess
from pathlib import Path

import pytest

from trove_agents.server.sandbox import Limits
from trove_agents.server.sandbox.cgroup import Group, Place, candidates, usable

MOUNTS = """\
30 20 0:26 / /sys/fs/cgroup rw - tmpfs tmpfs rw,mode=755
31 30 0:27 / /sys/fs/cgroup/memory rw,relatime - cgroup cgroup rw,memory
32 30 0:28 / /sys/fs/cgroup/pids rw,relatime - cgroup cgroup rw,pids
33 30 0:29 / /sys/fs/cgroup/cpu,cpuacct rw - cgroup cgroup rw,cpu,cpuacct
34 30 0:30 / /sys/fs/cgroup/unified rw - cgroup2 cgroup2 rw
"""


def test_the_groups_of_the_server_are_the_places():
    assert candidates("4:memory:/a/b\n3:pids:/\n2:cpu,cpuacct:/c\n0::/d\n", MOUNTS) == [
        Place(Path("/sys/fs/cgroup/memory/a/b"), ("memory",)),
        Place(Path("/sys/fs/cgroup/pids"), ("pids",)),
    ]


def test_in_a_container_the_mount_shows_a_part():
    mounts = MOUNTS.replace("0:27 /", "0:27 /docker/x")
    assert candidates("4:memory:/docker/x/y\n3:pids:/docker/x\n", mounts)[0].folder == Path(
        "/sys/fs/cgroup/memory/y"
    )


def test_one_hierarchy_may_have_both():
    mounts = "31 30 0:27 / /cg rw - cgroup cgroup rw,memory,pids\n"
    assert candidates("4:memory,pids:/s\n", mounts) == [Place(Path("/cg/s"), ("memory", "pids"))]


def test_version_two_is_left_alone():
    assert candidates("0::/user.slice\n", "34 30 0:30 / /sys/fs/cgroup rw - cgroup2 cgroup2 rw\n") == []


def test_a_place_that_cannot_be_written_leaves_nothing(tmp_path):
    with pytest.raises(OSError):
        Group((Place(tmp_path, ("memory",)), Place(tmp_path / "missing", ("pids",))), Limits())
    assert list(tmp_path.glob("*")) == []


def test_a_child_is_born_in_the_group_and_the_thread_returns():
    places = usable(Limits())
    if not places:
        pytest.skip("no control groups can be made here")
    before = Path("/proc/thread-self/cgroup").read_text()
    group = Group(places, Limits())
    try:
        with group.joined():
            child = subprocess.run(["cat", "/proc/self/cgroup"], capture_output=True, text=True)
        assert child.stdout.count("/trove-") == len(places)
        assert Path("/proc/thread-self/cgroup").read_text() == before
        assert not group.killed()
    finally:
        group.close()
