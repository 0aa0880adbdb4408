"""macOS: each command under ``sandbox-exec``, with a profile that denies what it does not list.

**Never run on macOS by its authors**: the profile is tested as text, the runner with a stand-in for the program. It
is weaker than bubblewrap: macOS has no namespaces, so a command knows the real paths of this machine and sees that other
processes exist (it can neither look into them nor signal them), and one that leaves its group and wipes its
environment outlives the command, still within its profile.

The rules are those that Apple's own profiles (``/System/Library/Sandbox/Profiles``) and Chromium's give to a shell and
its tools; the language has no public reference.
"""

import contextlib
import os
import shutil
import subprocess
import tempfile
from pathlib import Path
from typing import Final

from trove_agents.server.sandbox.plain import start
from trove_agents.server.sandbox.port import Command, Limits, Network, Outcome, Overlay
from trove_agents.server.sandbox.shell import rlimits
from trove_agents.server.sandbox.supervise import Streams, supervise
from trove_agents.server.sandbox.watch import Watcher

PROGRAM: Final = "/usr/bin/sandbox-exec"
"""By its full path: the system's own, whatever is on PATH."""
_TOOLS: Final = (
    *("/bin", "/sbin", "/usr/bin", "/usr/sbin", "/usr/lib", "/usr/libexec", "/usr/share", "/usr/local"),
    *("/opt/homebrew", "/Library/Apple", "/Library/Developer/CommandLineTools", "/Library/Frameworks"),
    *("/System/Library", "/System/Volumes/Preboot/Cryptexes", "/System/Cryptexes"),
    *("/private/var/db/dyld", "/private/var/db/timezone", "/private/var/select"),
)
"""Folders with programs and what they need; nobody's own files are in them."""
_FILES: Final = (
    *("/private/etc/hosts", "/private/etc/localtime", "/private/etc/passwd", "/private/etc/group"),
    *("/private/etc/protocols", "/private/etc/services", "/private/etc/resolv.conf"),
    *("/private/etc/ssl/cert.pem", "/private/etc/ssl/openssl.cnf"),
)
"""Single files, never the folder: others of it hold secrets."""
_DEVICES: Final = ("/dev/null", "/dev/zero", "/dev/random", "/dev/urandom", "/dev/dtracehelper")
_SEEN: Final = ("/", "/private", "/private/var", "/private/etc", "/etc", "/tmp", "/var")  # noqa: S108 - not written
"""Looked up on the way to others: that they are there is seen, what is in them is not."""
_HOST: Final = (
    "(allow network*)",
    "(allow system-socket)",
    '(allow mach-lookup (global-name "com.apple.SystemConfiguration.DNSConfiguration")',
    '  (global-name "com.apple.SystemConfiguration.configd") (global-name "com.apple.trustd.agent"))',
)


def profile(network: Network, *, above: int = 0) -> str:
    """The rules. The folders that commands may write are the parameters ``ROOT`` and ``TEMPORARY``, so that no path
    is ever part of the text; those above them are ``ABOVE0`` and so on, ``above`` of them.

    Raises:
        ValueError: ``internet``: a profile cannot tell public addresses from those of this machine.
    """
    if network == "internet":
        raise ValueError('seatbelt cannot allow public addresses only: network "none" or "host"')
    seen = " ".join(
        [_paths("literal", _SEEN), *(f'(literal (param "ABOVE{number}"))' for number in range(above))]
    )
    own = '(subpath (param "ROOT")) (subpath (param "TEMPORARY"))'
    lines = [
        "(version 1)",
        "(deny default)",
        "(allow process-exec)",
        "(allow process-fork)",
        "(allow signal (target same-sandbox))",
        "(allow process-info* (target same-sandbox))",
        "(allow sysctl-read)",
        "(allow ipc-posix-sem)",
        '(allow mach-lookup (global-name "com.apple.system.opendirectoryd.libinfo"))',
        f"(allow file-read-metadata {seen})",
        '(allow file-read-data (literal "/"))',
        f"(allow file-read* file-map-executable {_paths('subpath', _TOOLS)})",
        f"(allow file-read* {_paths('literal', _FILES)})",
        f"(allow file-read* file-write-data file-ioctl {_paths('literal', _DEVICES)})",
        '(allow file-read* file-write-data (subpath "/dev/fd"))',
        f"(allow file-read* file-write* file-map-executable {own})",
        "(deny file-write-setugid)",  # the last rule that fits decides
        *(_HOST if network == "host" else ()),
    ]
    return "\n".join(lines) + "\n"


def _paths(kind: str, paths: tuple[str, ...]) -> str:
    return " ".join(f'({kind} "{path}")' for path in paths)


class Seatbelt:
    """Runs each command under ``sandbox-exec``, at the path that its folder really has."""

    name = "seatbelt"
    inner_root = None

    def __init__(
        self, *, network: Network = "none", limits: Limits | None = None, program: str = PROGRAM
    ) -> None:
        """Raises ValueError for a network that `profile` cannot give."""
        profile(network)
        self.network: Network = network
        self.limits = limits or Limits()
        self._program = program

    def layered(self, root: Path, overlay: Overlay, script: str) -> str:  # noqa: ARG002 - of the port
        """See `Sandbox.layered`."""
        return "macOS has no overlays"

    async def run(self, command: Command) -> Outcome:
        """See `Sandbox.run`; a process that leaves the group and wipes its environment is not found."""
        with contextlib.ExitStack() as stack:
            temporary = tempfile.mkdtemp(prefix="trove-command-")
            stack.callback(shutil.rmtree, temporary, ignore_errors=True)
            streams = Streams.open(command)
            stack.callback(streams.close)
            tree = start(
                command,
                streams,
                temporary,
                before=self.arguments(command.root, Path(temporary)),
                begin=rlimits(self.limits, command.timeout, only="cnfSH"),
            )
            stack.callback(tree.close)
            return await supervise(command, tree, streams, Watcher(command.root, self.limits))

    def complaint(self) -> str | None:
        """What is wrong with it here; None when a command runs, and cannot read a file beside its folder.

        Looks, so it takes a moment.
        """
        with tempfile.TemporaryDirectory() as folder:
            beside, root, home = (Path(folder) / name for name in ("beside", "root", "home"))
            beside.write_text("readable")
            root.mkdir()
            home.mkdir()
            before = self.arguments(root, home)
            try:
                ran = _tried([*before, "/bin/echo", "ran"], root)
                read = _tried([*before, "/bin/cat", str(beside)], root)
            except (OSError, subprocess.TimeoutExpired) as error:
                return str(error)
        if ran.stdout != b"ran\n":
            return ran.stderr.decode(errors="replace").strip() or f"it ended with {ran.returncode}"
        return "a command could read a file outside of its folder" if b"readable" in read.stdout else None

    def arguments(self, root: Path, temporary: Path) -> list[str]:
        """The program and its options, before the shell."""
        # The kernel compares real paths: /tmp and /var are links there
        real, home = Path(os.path.realpath(root)), Path(os.path.realpath(temporary))
        above = [*dict.fromkeys([*real.parents, *home.parents])]
        parameters = {"ROOT": real, "TEMPORARY": home} | {f"ABOVE{n}": path for n, path in enumerate(above)}
        given = [option for name, value in parameters.items() for option in ("-D", f"{name}={value}")]
        return [self._program, "-p", profile(self.network, above=len(above)), *given]


def _tried(arguments: list[str], folder: Path) -> subprocess.CompletedProcess[bytes]:
    return subprocess.run(  # noqa: S603 - fixed programs
        arguments, cwd=folder, env={}, stdin=subprocess.DEVNULL, capture_output=True, timeout=10, check=False
    )
