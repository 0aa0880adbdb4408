"""The floor of a command: bwrap alone, with the options that the server gives it, running the same ``bash -c``."""

from trove_agents.server.sandbox import SandboxUnavailable, choose
from trove_agents.server.sandbox.bubblewrap import Bubblewrap


class Bare:
    """No limits, no watching, no files: one process started, its output read, its end awaited."""

    def __init__(self, sandbox: Bubblewrap) -> None:
        self._sandbox = sandbox

    @classmethod
    def here(cls) -> "Bare | str":
        """The floor, or why there is none."""
        try:
            sandbox = choose(None)
        except SandboxUnavailable as error:
            return str(error)
        return (
            cls(sandbox) if isinstance(sandbox, Bubblewrap) else f"{sandbox.name} is what runs commands here"
        )

    def run(self, turn: int) -> None:
        done = self._sandbox.try_out("bash", "-c", "true")
        if done.returncode != 0:
            raise RuntimeError(done.stderr.decode(errors="replace"))
