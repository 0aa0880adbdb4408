"""Waiting for processes and killing them, with pidfds and on kernels without."""

import asyncio
import os
import subprocess

import pytest

from trove_agents.server.sandbox.processes import Watched


@pytest.fixture(params=["pidfd", "polled"])
def kernel(request, monkeypatch):
    if request.param == "polled":

        def absent(pid, flags=0):
            raise OSError(38, "Function not implemented")

        monkeypatch.setattr(os, "pidfd_open", absent, raising=False)


def test_the_end_of_a_child_is_seen(kernel):
    child = subprocess.Popen(["sleep", "0.05"])
    watched = Watched(child.pid, lambda: child.poll() is not None)
    asyncio.run(asyncio.wait_for(watched.ended(), 20))
    assert child.wait() == 0
    watched.close()


def test_a_process_is_killed_once(kernel):
    child = subprocess.Popen(["sleep", "60"])
    watched = Watched(child.pid, lambda: child.poll() is not None)
    watched.kill()
    watched.wait(20)
    assert child.wait() == -9
    watched.kill()
    watched.close()
    watched.close()


def test_a_stranger_is_watched_too(kernel):
    with subprocess.Popen(
        ["bash", "-c", "sleep 60 & echo $!; wait"], stdout=subprocess.PIPE, text=True
    ) as shell:
        stranger = Watched(int(shell.stdout.readline()))
        stranger.kill()
        asyncio.run(asyncio.wait_for(stranger.ended(), 20))
        stranger.close()
