"""Run as a program, on its own: closes a network namespace to addresses that are not public.

    policies.py NETWORK_NAMESPACE_FD USER_NAMESPACE_FD PREFIX...

It joins both namespaces, which only a process with one thread can do, and sets outgoing IPsec policies that block
(`ip xfrm policy ... action block`). Routes would not do: a socket bound to a device, or an IP_PKTINFO message, passes
a missing or prohibiting route. The command has no capability to change policies.
"""

import ctypes
import os
import socket
import struct
import sys

NETLINK_XFRM = 6
NEW_POLICY = 0x13
REQUEST_ACK_CREATE = 0x1 | 0x4 | 0x400 | 0x200
ACKNOWLEDGED = struct.Struct("=IHHIIi")
OUT, ALLOW, BLOCK = 1, 0, 1
UNLIMITED = (1 << 64) - 1
RESOLVER = "10.0.2.3"
"""Of slirp4netns: passes questions on to this machine's own resolver."""


def policy(network: str, action: int, *, protocol: int = 0, port: int = 0, priority: int = 100) -> bytes:
    """A ``struct xfrm_userpolicy_info`` of <linux/xfrm.h> for what goes to `network`."""
    address, _, length = network.partition("/")
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    selector = struct.pack(
        "=16s16s4s4sHBBB3xiI",
        socket.inet_pton(family, address),
        b"",
        struct.pack("!HH", port, 0xFFFF if port else 0),
        b"",
        family,
        int(length or 32),
        0,
        protocol,
        0,
        0,
    )
    lifetime = struct.pack("=8Q4Q", *[UNLIMITED] * 4, *[0] * 8)
    return selector + lifetime + struct.pack("=IIBBBB4x", priority, 0, OUT, action, 0, 0)


def main(arguments: list[str]) -> None:
    """Joins the namespaces and sets the policies; raises OSError when the kernel refuses one."""
    libc = ctypes.CDLL(None, use_errno=True)
    network, user, *blocked = arguments
    for namespace in (user, network):
        if libc.setns(int(namespace), 0):
            error = ctypes.get_errno()
            raise OSError(error, f"setns: {os.strerror(error)}")
    policies = [policy(each, BLOCK) for each in blocked]
    policies += [
        policy(RESOLVER, ALLOW, protocol=protocol, port=53, priority=1)
        for protocol in (socket.IPPROTO_UDP, socket.IPPROTO_TCP)
    ]
    with socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, NETLINK_XFRM) as kernel:
        for each in policies:
            size = 16 + len(each)
            kernel.send(struct.pack("=IHHII", size, NEW_POLICY, REQUEST_ACK_CREATE, 1, 0) + each)
            answer = ACKNOWLEDGED.unpack_from(kernel.recv(4096))[-1]
            if answer:
                raise OSError(-answer, f"xfrm policy: {os.strerror(-answer)}")


if __name__ == "__main__":
    main(sys.argv[1:])
