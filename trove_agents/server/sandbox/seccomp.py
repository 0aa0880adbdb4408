"""The filter of system calls: a classic BPF program, assembled here, loaded by bwrap.

Isolation does not rest on it. It takes away interfaces of the kernel that commands of an agent do not need and
that have been the way into the kernel before: io_uring, bpf, keyrings, perf, userfaultfd, tracing others. And
sockets of a kind that no network namespace holds back: with vsock a command would talk to the host of this machine.
"""

import errno
import socket
import struct
from dataclasses import dataclass
from typing import Final

# <linux/bpf_common.h>: load a word at an absolute offset; jump if equal, if greater or equal; return.
_LOAD, _EQUAL, _AT_LEAST, _RETURN = 0x20, 0x15, 0x35, 0x06
# <linux/seccomp.h>: what a filter may answer, and where it finds the call's number and architecture.
_ALLOW, _ERRNO, _KILL = 0x7FFF0000, 0x00050000, 0x80000000
_NUMBER_AT, _ARCHITECTURE_AT = 0, 4
_FIRST_ARGUMENT_AT: Final = 16
"""Its lower half on the machines below, which are little-endian; an ``int`` has no other."""
_X32_BIT: Final = 0x40000000
"""x86-64 kernels take a second set of numbers, with this bit, for the x32 ABI: a way round any filter."""


@dataclass(frozen=True, slots=True)
class _Machine:
    """One architecture: its name for the audit system and the numbers of the calls that are refused."""

    audit: int
    socket: int
    """The number of the call that makes one."""
    calls: dict[str, int]
    x32: bool = False


# <asm/unistd.h> of each. From 424 on the numbers are the same everywhere.
_EVERYWHERE: Final = {"io_uring_setup": 425, "io_uring_enter": 426, "io_uring_register": 427}
MACHINES: Final = {
    "x86_64": _Machine(
        0xC000003E,
        41,
        {
            "ptrace": 101,
            "syslog": 103,
            "add_key": 248,
            "request_key": 249,
            "keyctl": 250,
            "perf_event_open": 298,
            "process_vm_readv": 310,
            "process_vm_writev": 311,
            "bpf": 321,
            "userfaultfd": 323,
            **_EVERYWHERE,
        },
        x32=True,
    ),
    "aarch64": _Machine(
        0xC00000B7,
        198,
        {
            "syslog": 116,
            "ptrace": 117,
            "add_key": 217,
            "request_key": 218,
            "keyctl": 219,
            "perf_event_open": 241,
            "process_vm_readv": 270,
            "process_vm_writev": 271,
            "bpf": 280,
            "userfaultfd": 282,
            **_EVERYWHERE,
        },
    ),
}
NOT_THERE: Final = frozenset({*_EVERYWHERE, "userfaultfd"})
"""Answered with ENOSYS, at which programs fall back to the older way; the others with EPERM."""
FAMILIES: Final = (
    socket.AF_UNIX,
    socket.AF_INET,
    socket.AF_INET6,
    16,  # AF_NETLINK, which Python knows on Linux only
)
"""Of sockets, what commands may have; others are answered with EAFNOSUPPORT. Each of these is bound to the network
namespace, or, the first by name, to files and to that."""


def program(machine: str) -> bytes | None:
    """The filter for `machine` as ``os.uname().machine`` names it; None: no numbers are known for it.

    A call of a foreign architecture (32-bit code on a 64-bit kernel) kills the process.
    """
    known = MACHINES.get(machine)
    if known is None:
        return None
    steps = [
        _step(_LOAD, _ARCHITECTURE_AT),
        _step(_EQUAL, known.audit, then=1),
        _step(_RETURN, _KILL),
        _step(_LOAD, _NUMBER_AT),
    ]
    if known.x32:
        steps += [_step(_AT_LEAST, _X32_BIT, otherwise=1), _step(_RETURN, _ERRNO | errno.ENOSYS)]
    for name, number in sorted(known.calls.items(), key=lambda item: item[1]):
        refusal = errno.ENOSYS if name in NOT_THERE else errno.EPERM
        steps += [_step(_EQUAL, number, otherwise=1), _step(_RETURN, _ERRNO | refusal)]
    steps += _sockets(known)
    steps.append(_step(_RETURN, _ALLOW))
    return b"".join(steps)


def _sockets(machine: _Machine) -> list[bytes]:
    """Lets pass sockets of the families above, and no others."""
    most = len(FAMILIES)
    return [
        _step(_EQUAL, machine.socket, otherwise=most + 3),
        _step(_LOAD, _FIRST_ARGUMENT_AT),
        *(_step(_EQUAL, family, then=most - at) for at, family in enumerate(FAMILIES)),
        _step(_RETURN, _ERRNO | errno.EAFNOSUPPORT),
        _step(_RETURN, _ALLOW),
    ]


def _step(code: int, value: int, *, then: int = 0, otherwise: int = 0) -> bytes:
    """One instruction; a jump goes `then` or `otherwise` steps further than the next one."""
    return struct.pack("=HBBI", code, then, otherwise, value)
