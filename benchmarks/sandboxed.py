"""The floor of a command: bwrap alone, with the options that the server gives it, running the same ``bash -c``."""

import contextlib
import os
import subprocess
import sys
from pathlib import Path

from trove_agents.server.sandbox import Limits, SandboxUnavailable, binary, choose, seccomp
from trove_agents.server.sandbox.bubblewrap import CLOSING, ISOLATION
from trove_agents.server.sandbox.layout import ENVIRONMENT, INNER_ROOT, layout


class Bare:
    """No limits, no watching, no working copy: one process started, its output read, its end awaited."""

    def __init__(self, root: Path) -> None:
        found = binary.find()
        assert found is not None
        self._bwrap = found.path
        self._layout = layout("none", Limits())
        self._filter = seccomp.program(os.uname().machine)
        self._root = root

    @classmethod
    def here(cls, folder: Path) -> "Bare | str":
        """The floor in a folder of its own, or why there is none."""
        try:
            chosen = choose(None)
        except SandboxUnavailable as error:
            return str(error)
        if sys.platform != "linux" or chosen.name != "bubblewrap":
            return "bubblewrap is not what isolates here"
        root = folder / "bare"
        root.mkdir()
        bare = cls(root)
        bare.run(0)
        return bare

    def run(self, turn: int) -> None:
        with contextlib.ExitStack() as stack:
            handed: list[int] = []

            def memory(content: bytes) -> str:
                descriptor = os.memfd_create("options")
                stack.callback(os.close, descriptor)
                os.write(descriptor, content)
                os.lseek(descriptor, 0, os.SEEK_SET)
                handed.append(descriptor)
                return str(descriptor)

            options = list(ISOLATION)
            if self._filter is not None:
                options += ["--seccomp", memory(self._filter)]
            options += self._layout.options
            for path, content in self._layout.files.items():
                options += ["--perms", "0444", "--file", memory(content.encode()), path]
            options += ["--bind", str(self._root), INNER_ROOT, *CLOSING]
            for name, value in {**ENVIRONMENT, "PATH": self._layout.path}.items():
                options += ["--setenv", name, value]
            arguments = memory("\0".join(options).encode() + b"\0")
            done = subprocess.run(
                [self._bwrap, "--args", arguments, "--", "bash", "-c", "true"],
                env={},
                cwd="/",
                pass_fds=handed,
                stdin=subprocess.DEVNULL,
                capture_output=True,
            )
        if done.returncode != 0:
            raise RuntimeError(done.stderr.decode(errors="replace"))
