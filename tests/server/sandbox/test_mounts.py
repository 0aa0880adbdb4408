"""Mount namespaces of commands that have ended: given up by a thread of its own, and none is kept."""

import asyncio
import os
import select
import subprocess

import pytest

from trove_agents.server.sandbox import Command, Overlay, choose, mounts, probe


def test_a_descriptor_is_closed_by_another_thread():
    reader, writer = os.pipe()
    mounts.give_up(writer)
    assert select.select([reader], [], [], 20)[0] and os.read(reader, 1) == b""
    os.close(reader)


def test_a_process_that_is_gone_has_no_mounts():
    held = mounts.hold(os.getpid())
    assert held is not None and os.readlink(f"/proc/self/fd/{held}").startswith("mnt:[")
    os.close(held)
    ended = subprocess.Popen(["true"])
    ended.wait()
    assert mounts.hold(ended.pid) is None


def namespaces():
    """The mount namespaces that this process holds."""
    found = []
    for name in os.listdir("/proc/self/fd"):
        try:
            link = os.readlink(f"/proc/self/fd/{name}")
        except FileNotFoundError:
            continue
        if link.startswith("mnt:["):
            found.append(link)
    return found


@pytest.mark.sandbox
async def test_each_command_gives_up_its_mounts(tmp_path):
    report = probe()
    if not report.ok:
        pytest.skip(" ".join(report.problems))
    sandbox = choose(None)
    lower, upper, work = tmp_path / "lower", tmp_path / "upper", tmp_path / "work"
    for folder in (lower, upper, work):
        folder.mkdir()
    refused = sandbox.layered(upper, Overlay((lower,), work), "true")
    if refused is not None:
        pytest.skip(f"no overlays: {refused}")
    for script, timeout in (("true", 20), ("touch f; echo $$", 20), ("sleep 60", 0.2), ("exit 3", 20)):
        await sandbox.run(Command(script, upper, overlay=Overlay((lower,), work), timeout=timeout))
    running = asyncio.create_task(
        sandbox.run(Command("touch started; sleep 60", upper, overlay=Overlay((lower,), work)))
    )
    while not (upper / "started").exists():
        await asyncio.sleep(0.005)
    assert namespaces()
    running.cancel()
    with pytest.raises(asyncio.CancelledError):
        await running
    while namespaces():
        await asyncio.sleep(0.005)
