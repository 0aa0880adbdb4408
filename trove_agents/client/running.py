"""A command's answer as it comes: server-sent events, read from the pieces of a body. No I/O."""

from collections.abc import Iterator
from typing import Final

import msgspec

from trove_agents.client.call import value
from trove_agents.client.failures import failure
from trove_agents.client.transport import Reply
from trove_agents.errors import TroveConnectionError
from trove_agents.wire.exec import ExecChunk, ExecResult

_CHUNK: Final = value(ExecChunk)


class Running:
    """Gives what a command prints, and last how it ended."""

    def __init__(self) -> None:
        self._rest: list[bytes] = []
        self._kind = b""
        self._data: list[bytes] = []
        self._ended = False

    def feed(self, piece: bytes) -> Iterator[ExecChunk | ExecResult]:
        """What a piece of the body completes.

        Raises:
            TroveError: the command was refused or stopped, as ``exec`` would raise it.
        """
        self._rest.append(piece)
        if b"\n" not in piece:
            return
        *lines, rest = b"".join(self._rest).split(b"\n")
        self._rest = [rest]
        for line in lines:
            if (told := self._line(line.removesuffix(b"\r"))) is not None:
                yield told

    def end(self) -> None:
        """The body is at its end.

        Raises:
            TroveConnectionError: and the command, so far as anybody has told, is not.
        """
        if not self._ended:
            raise TroveConnectionError(
                "the answer ended before the command did; what it did may have been committed: look before repeating it",
                may_have_committed=True,
            )

    def _line(self, line: bytes) -> ExecChunk | ExecResult | None:
        """Fields other than these, comments included, mean nothing here."""
        name, _, text = line.partition(b":")
        if name == b"event":
            self._kind = text.removeprefix(b" ")
        elif name == b"data":
            self._data.append(text.removeprefix(b" "))
        if line:
            return None
        kind, data = self._kind, b"\n".join(self._data)
        self._kind, self._data = b"", []
        return self._event(kind, data)

    def _event(self, kind: bytes, data: bytes) -> ExecChunk | ExecResult | None:
        if kind == b"output":
            return _CHUNK(Reply(200, {}, data))
        if kind == b"result":
            self._ended = True
            return exec_result(Reply(200, {}, data))
        if kind == b"error":
            self._ended = True
            told = _FAILED(Reply(200, {}, data))
            after = {} if told.retry_after is None else {"retry-after": str(told.retry_after)}
            raise failure(Reply(told.status, after, data))
        return None


class _Failed(msgspec.Struct, frozen=True):
    """Beside what every error says."""

    status: int
    retry_after: int | None = None


class _Answer(msgspec.Struct, frozen=True):
    """Only the exit code is certain: other servers may leave out the rest, or send null."""

    exit_code: int
    stdout: str | None = None
    stderr: str | None = None
    duration_ms: int | None = None
    stdout_truncated: bool = False
    stderr_truncated: bool = False
    warnings: list[str] = []
    conflicts: list[str] = []
    reference_id: str | None = None


_ANSWER = value(_Answer)
_FAILED = value(_Failed)


def exec_result(reply: Reply) -> ExecResult:
    """How a command ended, from the JSON of a whole answer or of a stream's last event."""
    answer = _ANSWER(reply)
    return ExecResult(
        answer.exit_code,
        answer.stdout or "",
        answer.stderr or "",
        answer.duration_ms or 0,
        answer.stdout_truncated,
        answer.stderr_truncated,
        answer.warnings,
        answer.conflicts,
        answer.reference_id,
    )
