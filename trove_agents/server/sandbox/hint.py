"""One line for a command that failed because it has no network."""

import re

_SIGNS = re.compile(
    rb"Could not resolve host"
    rb"|Temporary failure in name resolution"
    rb"|Name or service not known"
    rb"|nodename nor servname provided"
    rb"|[Nn]etwork is unreachable"
    rb"|Could not resolve (?:proxy|hostname)"
    rb"|Temporary failure resolving"
    rb"|unable to resolve host address"
    rb"|getaddrinfo (?:ENOTFOUND|EAI_AGAIN)"
    rb"|No address associated with hostname"
    rb"|ENETUNREACH"
    rb"|server misbehaving|connect: network is unreachable"
    rb"|failed to lookup address information"
)
HINT = "trove: commands have no network here; the server's network setting turns it on"


def network_hint(stderr: bytes) -> str | None:
    """The line to add to the standard error of a command run with network ``none``; None if nothing points to it."""
    return HINT if _SIGNS.search(stderr) else None
