"""What a command finds around its folder: the programs of this machine, read-only, and next to nothing else."""

import functools
import os
import stat
import sys
from dataclasses import dataclass, field
from pathlib import Path

from trove_agents.server.sandbox.egress import RESOLV_CONF
from trove_agents.server.sandbox.port import Limits, Network

INNER_ROOT = "/workspace"
USER = 1000
HOME = "/tmp"  # noqa: S108 - the sandbox's own
SEARCH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin:/opt/bin"
ENVIRONMENT = {
    "PATH": SEARCH,
    "HOME": HOME,
    "TMPDIR": HOME,
    "USER": "user",
    "LOGNAME": "user",
    "SHELL": "/bin/bash",
    "LANG": "C.UTF-8",
    "TERM": "dumb",
}
STUBS = {
    "/etc/passwd": f"user:x:{USER}:{USER}::{HOME}:/bin/bash\nnobody:x:65534:65534::/:/usr/sbin/nologin\n",
    "/etc/group": f"user:x:{USER}:\nnogroup:x:65534:\n",
    "/etc/hosts": "127.0.0.1 localhost sandbox\n::1 localhost sandbox\n",
    "/etc/nsswitch.conf": "passwd: files\ngroup: files\nhosts: files dns\nservices: files\nprotocols: files\n",
}
PUBLIC = ("/etc/ld.so.cache", "/etc/alternatives", "/etc/fonts", "/etc/ImageMagick-6", "/etc/ImageMagick-7")
"""What programs under /usr need of /etc, and the world may read anyway. Never /etc itself: a root-run server's
commands are root to the files of this machine, so they could read /etc/shadow. Each mount costs every command a tenth
of a millisecond."""
COPIED = ("/etc/ssl/openssl.cnf",)
NETWORKED = (
    *("/etc/services", "/etc/protocols", "/etc/gai.conf"),
    *(
        "/etc/ssl/certs",
        "/etc/pki/tls/certs",
        "/etc/pki/ca-trust/extracted",
        "/etc/ca-certificates/extracted",
    ),
)


GUARDED = frozenset({"kcore", "kmsg"})
"""Files of /proc whose reader needs a capability, of which commands have none."""


@dataclass(frozen=True, slots=True)
class Layout:
    """The mounts of a sandbox, as options of bwrap and as files that it is handed."""

    options: tuple[str, ...]
    files: dict[str, str] = field(default_factory=dict)
    """Path inside -> content."""
    path: str = SEARCH


@functools.cache
def layout(network: Network, limits: Limits) -> Layout:
    """How the sandbox looks on this machine, apart from the command's own folder."""
    options = ["--ro-bind", "/usr", "/usr"]
    for name in ("bin", "sbin", "lib", "lib32", "lib64", "libx32"):
        folder = Path("/", name)
        if folder.is_symlink():
            options += ["--symlink", str(folder.readlink()), str(folder)]
        elif folder.is_dir():
            options += ["--ro-bind", str(folder), str(folder)]
    for path in (*PUBLIC, *(NETWORKED if network != "none" else ())):
        if Path(path).exists():
            options += ["--ro-bind", path, path]
    options += ["--proc", "/proc", "--dev", "/dev", *_masks()]
    for path in ("/tmp", "/dev/shm"):  # noqa: S108 - the sandbox's own
        options += ["--perms", "1777", "--size", str(limits.temporary), "--tmpfs", path]
    python, search = _python()
    options += python
    files = STUBS | {path: _text(path) for path in COPIED if Path(path).exists()}
    if network == "internet":
        files["/etc/resolv.conf"] = RESOLV_CONF
    if network == "host":
        files["/etc/hosts"] = _text("/etc/hosts") or files["/etc/hosts"]
        files["/etc/resolv.conf"] = _text("/etc/resolv.conf")
    return Layout(tuple(options), files, search)


def _masks() -> list[str]:
    """Covers what only root may read in /proc, if the commands are root to the kernel."""
    if os.geteuid() != 0:
        return []
    private = (path for path in Path("/proc").iterdir() if path.name not in GUARDED and _private(path))
    return [part for path in sorted(private) for part in ("--ro-bind", "/dev/null", str(path))]


def _private(path: Path) -> bool:
    try:
        mode = path.lstat().st_mode
    except OSError:
        return False
    return not path.name.isdigit() and stat.S_ISREG(mode) and not mode & stat.S_IROTH


def _python() -> tuple[list[str], str]:
    """Mounts and the search path that give a ``python3`` and a ``python``."""
    folders = (Path("/usr/local/bin"), Path("/usr/bin"))
    for folder in folders:
        if (folder / "python3").exists():
            if any((each / "python").exists() for each in folders):
                return [], SEARCH
            return ["--symlink", str(folder / "python3"), "/opt/bin/python"], SEARCH
    return interpreter(Path(sys.base_prefix))


def interpreter(prefix: Path) -> tuple[list[str], str]:
    """The same from the Python installed at `prefix`: its programs and its library, and nothing else that is there.

    They keep their path, though that may tell the name of a user: many builds look for their library by it. Nothing
    is shown of a prefix that is a whole home or machine; the report then says that ``python3`` is missing.
    """
    if prefix == Path("/") or prefix == Path.home() or prefix in Path.home().parents:
        return [], SEARCH
    mounts = []
    for name in ("bin", "lib"):
        if (prefix / name).is_dir():
            mounts += ["--ro-bind", str(prefix / name), str(prefix / name)]
    return mounts, f"{SEARCH}:{prefix}/bin"


def _text(path: str) -> str:
    try:
        return Path(path).read_text(errors="surrogateescape")
    except OSError:
        return ""
