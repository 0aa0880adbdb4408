"""What a sandbox isolates on this machine, what it does not, and what would help."""

import msgspec


class Report(msgspec.Struct, frozen=True, kw_only=True):
    """One structured report; `ok` is what decides whether commands run."""

    sandbox: str
    """``bubblewrap``, ``seatbelt`` or ``none``."""
    network: str
    """As asked for: ``none``, ``internet`` or ``host``."""
    version: str | None = None
    executable: str | None = None
    """Where the program was found that isolates."""
    runs_as: str | None = None
    """Which user of this machine the commands are, and what that means."""
    isolated: dict[str, bool] = {}
    """``files``, ``network``, ``processes``, ``environment``, ``system_calls``."""
    limits: dict[str, str] = {}
    """Limit by limit, how it is kept, or ``missing: `` and why."""
    missing_tools: list[str] | None = None
    """Programs that scripts of the public API call and that commands would not find; None: not looked for."""
    working_copies: str | None = None
    """How commands get their files: ``overlay``, or ``directory: `` and why; None: not looked at."""
    problems: list[str] = []
    """What is wrong, in sentences."""
    remedy: list[str] = []
    """What would help, in sentences."""
    ok: bool = True
    """Files, network and processes are isolated as asked, or ``none`` was asked for by name."""
