"""A way to public addresses, and to those only, for the network namespace of one command.

slirp4netns carries the traffic, in this machine's name; `policies` keeps it from everything that is not public.
(pasta would serve as well, but not better: one program is enough to watch.)
"""

import asyncio
import contextlib
import fcntl
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

from trove_agents.server.sandbox import policies
from trove_agents.server.sandbox.pipes import memory_file, readable
from trove_agents.server.sandbox.port import SandboxFailed
from trove_agents.server.sandbox.processes import Watched

PROGRAM = "slirp4netns"
RESOLV_CONF = f"nameserver {policies.RESOLVER}\n"
NS_GET_USERNS = 0xB701
"""ioctl(2) of a namespace's descriptor, for one of the user namespace that owns it (ioctl_ns(2))."""
SETTLE_SECONDS = 5.0
NOT_PUBLIC = (
    # Special-purpose addresses (RFC 6890), multicast and what follows it; 10/8 holds slirp4netns's own network.
    *("0.0.0.0/8", "10.0.0.0/8", "100.64.0.0/10", "127.0.0.0/8", "169.254.0.0/16", "172.16.0.0/12"),
    *("192.0.0.0/24", "192.168.0.0/16", "198.18.0.0/15", "224.0.0.0/4", "240.0.0.0/4"),
    # The virtual machine host of one large cloud, reachable by no other address.
    "168.63.129.16/32",
    # IPv6 is not carried at all; blocked all the same.
    "::/0",
)


def missing() -> str | None:
    """What this machine lacks for it, in a sentence; None if nothing."""
    if shutil.which(PROGRAM) is None:
        return f"The network setting internet needs {PROGRAM}, which is not on the PATH."
    if not os.access("/dev/net/tun", os.R_OK | os.W_OK):
        return "The network setting internet needs /dev/net/tun, which this user may not open."
    return None


async def attach(first: int, stack: contextlib.ExitStack) -> None:
    """Connects the network namespace of the process `first`; `stack` ends the connection.

    Raises:
        SandboxFailed: it could not be connected, or not be kept from private addresses.
    """
    await _settled(first)
    try:
        network = os.open(f"/proc/{first}/ns/net", os.O_RDONLY | os.O_CLOEXEC)
        stack.callback(os.close, network)
        user = fcntl.ioctl(network, NS_GET_USERNS)
        stack.callback(os.close, user)
    except OSError as error:
        raise SandboxFailed(f"No network: {error}") from error
    # Closed before there is anything to reach.
    blocked = (*NOT_PUBLIC, *(f"{address}/32" for address in own_addresses()))
    script = str(Path(policies.__file__))
    await _finished([sys.executable, "-I", "-S", script, str(network), str(user), *blocked], (network, user))
    await _connect(network, user, stack)


async def _connect(network: int, user: int, stack: contextlib.ExitStack) -> None:
    ready, ready_writer = os.pipe()
    stack.callback(os.close, ready)
    leave_reader, leave = os.pipe()
    said = memory_file(b"")
    stack.callback(os.close, said)
    options = [
        *("--configure", "--mtu=65520", "--disable-host-loopback", "--enable-sandbox", "--enable-seccomp"),
        *("--cidr=10.0.2.0/24", f"--ready-fd={ready_writer}", f"--exit-fd={leave_reader}"),
        *(f"--userns-path=/proc/self/fd/{user}", "--netns-type=path", f"/proc/self/fd/{network}", "tap0"),
    ]
    try:
        program = _start(
            [shutil.which(PROGRAM) or PROGRAM, *options], (ready_writer, leave_reader, network, user), said
        )
    except SandboxFailed:
        os.close(leave)
        raise
    finally:
        os.close(ready_writer)
        os.close(leave_reader)

    def end() -> None:
        # It also leaves by itself when this process dies, as the pipe closes.
        os.close(leave)
        program.kill()
        program.wait()

    stack.callback(end)
    await readable(ready)
    if os.read(ready, 1) != b"1":
        raise SandboxFailed(f"No network: {PROGRAM} says: {_text(said)}")


def own_addresses() -> list[str]:
    """This machine's own IPv4 addresses: its services listen there, public or not."""
    with contextlib.suppress(OSError):
        table = Path("/proc/net/fib_trie").read_text()
        return sorted(set(re.findall(r"\|-- ([\d.]+)\n\s+/32 host LOCAL", table)))
    return []


async def _settled(first: int) -> None:
    """Waits until bwrap is done with the network namespace, which it is before it changes its root folder."""
    clock = asyncio.get_running_loop().time
    deadline = clock() + SETTLE_SECONDS
    while _shares_root(first):
        if clock() > deadline:
            raise SandboxFailed("No network: the sandbox was not set up")
        await asyncio.sleep(0.001)


def _shares_root(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/root").stat().st_dev == Path("/").stat().st_dev
    except OSError as error:
        raise SandboxFailed("No network: the sandbox ended while it was set up") from error


async def _finished(arguments: list[str], descriptors: tuple[int, ...]) -> None:
    """Runs a program to its end.

    Raises:
        SandboxFailed: it could not be started or did not succeed.
    """
    with contextlib.ExitStack() as stack:
        said = memory_file(b"")
        stack.callback(os.close, said)
        program = _start(arguments, descriptors, said)
        stack.callback(program.wait)
        stack.callback(program.kill)
        watched = Watched(program.pid, lambda: program.poll() is not None)
        stack.callback(watched.close)
        await watched.ended()
        if program.wait():
            raise SandboxFailed(f"No network: {_text(said)}")


def _start(arguments: list[str], descriptors: tuple[int, ...], said: int) -> subprocess.Popen[bytes]:
    """A program that knows nothing but `descriptors` and tells its errors to the descriptor `said`."""
    try:
        return subprocess.Popen(  # noqa: S603 - fixed programs
            arguments,
            env={},
            pass_fds=descriptors,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=said,
            start_new_session=True,
        )
    except OSError as error:
        raise SandboxFailed(f"No network: {error}") from error


def _text(fd: int) -> str:
    os.lseek(fd, 0, os.SEEK_SET)
    lines = os.read(fd, 65536).decode(errors="replace").strip().splitlines()
    return lines[-1] if lines else "nothing"
