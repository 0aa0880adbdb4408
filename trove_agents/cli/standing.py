"""A report about isolation in a line or two."""

from collections.abc import Iterator

from trove_agents.server.sandbox import Report

MISSING = "missing: "
"""What a limit begins with that is not kept."""


def lines(report: Report) -> Iterator[str]:
    """What commands run under; first what matters most."""
    if not report.ok:
        yield "refused: this machine cannot isolate them; files work. 'trove-agents doctor' says what would help"
        return
    if report.sandbox == "none":
        yield "unprotected, since the sandbox is none: they have all rights of this server"
        return
    name = f"{report.sandbox} {report.version}" if report.version else report.sandbox
    kept = [_words(subject) for subject, isolated in report.isolated.items() if isolated]
    yield f"under {name}: {', '.join(kept)} isolated; network: {report.network}"
    if report.working_copies:
        yield f"working copies: {report.working_copies}"
    open_to = [_words(subject) for subject, isolated in report.isolated.items() if not isolated]
    unlimited = [_words(limit) for limit, how in report.limits.items() if how.startswith(MISSING)]
    if open_to:
        yield f"not isolated: {', '.join(open_to)}"
    if unlimited:
        yield f"not limited: {', '.join(unlimited)}"


def _words(name: str) -> str:
    return name.replace("_", " ")
