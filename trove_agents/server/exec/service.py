"""One command in a namespace (design 4): lock, copy brought to the head, run, one version, lock given back.

What blocks runs off the loop: who comes, the lock with the copy, then all that follows the command. The command itself
is awaited on the loop.
"""

import logging
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final, TypeVar

import msgspec

from trove_agents.server import timelines
from trove_agents.server.auth import Principal
from trove_agents.server.blobs import BlobStore
from trove_agents.server.db import Connection, Database
from trove_agents.server.errors import (
    BadRequest,
    CommandTimeout,
    Conflict,
    InFlight,
    QuotaExceeded,
    SandboxMissing,
)
from trove_agents.server.events import service as events
from trove_agents.server.exec import shell
from trove_agents.server.exec.contents import Contents
from trove_agents.server.exec.copies import WorkingCopy, identity
from trove_agents.server.exec.forms import Copies
from trove_agents.server.exec.ingest import Ingested, ingest
from trove_agents.server.exec.options import Options
from trove_agents.server.exec.output import Output
from trove_agents.server.exec.scan import Quota, Scan
from trove_agents.server.files import links
from trove_agents.server.idempotency import answers
from trove_agents.server.jobs import Turn
from trove_agents.server.namespaces import leases, locks
from trove_agents.server.namespaces import service as namespaces
from trove_agents.server.namespaces.locks import ExecLocks, Hop, Lease
from trove_agents.server.namespaces.quotas import NO_QUOTAS, Quotas
from trove_agents.server.paths import ROOT, shown
from trove_agents.server.references import service as references
from trove_agents.server.sandbox import Command, Outcome, Sandbox, SandboxFailed, network_hint
from trove_agents.server.timelines import At, Kind, Namespace
from trove_agents.server.waiting import whole
from trove_agents.wire import limits
from trove_agents.wire.exec import ExecRequest, ExecResult

T = TypeVar("T")
_LOCK_SECONDS: Final = 270.0
"""Beside the command's own time: for laying out and taking in its files. A dead holder is found out without waiting
for it."""
_EVENT_COMMAND_BYTES: Final = 16 * 1024
"""Kept of a command in its event: a page of events holds 200 of them."""
_EVENT_BYTES: Final = 4096
"""Kept of each output in the event."""
_EVENT_PATHS: Final = 100
_log = logging.getLogger("trove_agents.server.exec")


@dataclass(slots=True)
class _Call:
    """One command on its way."""

    principal: Principal
    command: str
    options: Options
    namespace: Namespace
    """As the command found it."""
    contents: Contents
    output: Output | None
    """What is told of it while it runs."""
    copy: WorkingCopy | None = None
    init: str | None = None
    directory: str = ""
    """``options.cwd`` with its links followed."""
    warnings: list[str] = field(default_factory=list)


class ExecService:
    """Runs commands of all namespaces, one at a time in each."""

    def __init__(
        self,
        database: Database,
        blobs: BlobStore,
        exec_locks: ExecLocks,
        sandbox: Callable[[], Sandbox],
        folder: Path,
        *,
        seconds: float = limits.EXEC_SECONDS,
        max_seconds: float = limits.EXEC_SECONDS,
        quota: Quota | None = None,
        quotas: Quotas = NO_QUOTAS,
    ) -> None:
        self._database = database
        self._blobs = blobs
        self._locks = exec_locks
        self._sandbox = sandbox
        self._copies = Copies(folder)
        self._seconds = min(seconds, max_seconds)
        self._max_seconds = max_seconds
        self._quota = quota or Quota()
        self._quotas = quotas

    def prune(self, turn: Turn) -> str | None:  # noqa: ARG002 - of a job
        """Removes this process's working copies of namespaces that are no more."""

        def living() -> list[str]:
            with self._database.read() as db:
                return [identity(*each) for each in timelines.living(db)]

        self._copies.prune(living)
        return None

    def close(self) -> None:
        """Lets go of the working copies; they stay on disk for the next server."""
        self._copies.close()

    async def run(
        self,
        principal: Principal,
        namespace: str,
        request: ExecRequest,
        *,
        hop: Hop,
        output: Output | None = None,
    ) -> ExecResult:
        """Runs a command and commits what it did to the files as one version. A namespace that nobody used yet is
        created.

        Cancelled, it kills the command and commits nothing, unless the commit had begun.

        Raises:
            Unprocessable: no command, a NUL in it, stdin over 1 MB, a time that is over the server's limit, or
                variables that bash could not have.
            BadRequest: ``cwd`` is no directory of the namespace.
            SandboxMissing: this server runs no commands.
            Busy: another command kept the namespace for 10 s.
            CommandTimeout: it was killed when its time was up; its files are kept.
            QuotaExceeded: it used or left more than it may, or the namespace would be larger than it may be; nothing is kept.
            Conflict: the namespace was restored, or the lock lost, meanwhile; nothing is kept.
            WorkspaceLeased, LeaseLost: as ``leases.check``, before it starts or when it has ended; nothing is kept.
            InFlight: a call with the same key runs at this moment.
        """
        options = Options.of(request, usual=self._seconds, most=self._max_seconds)
        sandbox, space = await hop(self._enter, principal, namespace)
        contents = Contents(self._blobs, principal.workspace)
        call = _Call(principal, request.command, options, space, contents, output)

        async with self._locks.hold(
            space.id,
            seconds=options.seconds + _LOCK_SECONDS,
            hop=hop,
            begin=lambda lease: self._prepare(call, sandbox, lease),
            end=lambda: self._give_back(call),
        ) as lease:
            outcome = await self._execute(sandbox, call)
            result: ExecResult = await whole(hop(self._finish, sandbox, call, outcome, lease))
        if outcome.timed_out:
            raise _timed_out(call)
        return result

    def _enter(self, principal: Principal, name: str) -> tuple[Sandbox, Namespace]:
        """The sandbox and the namespace, which is created only if there is something to run commands with."""
        sandbox = self._sandbox()
        with self._database.read() as db:
            found = timelines.namespace(db, principal.workspace, name)
            worker = answers.look(db, principal, now_us=self._database.now_ns() // 1000)
            if worker is not None and found is not None and self._locks.works(db, found.id, worker):
                raise InFlight("this call was sent before, and is still being done")
            if found is not None:  # now, rather than after waiting for the lock of the holder's own command
                leases.refuse(db, found, principal, now_ns=self._database.now_ns())
        if found is None:
            now = self._database.now_ns()
            found = self._database.write(
                lambda tx: namespaces.ensure(tx, principal.workspace, name, now_ns=now)
            )
        return sandbox, found

    def _prepare(self, call: _Call, sandbox: Sandbox, lease: Lease) -> None:
        """The copy, at the head, and the text of init.sh."""
        if call.principal.keyed is not None:
            now_us = self._database.now_ns() // 1000
            self._database.write(
                lambda tx: answers.claim(tx, call.principal, lease.name, now_us=now_us), durable=False
            )
        with self._database.read() as db:
            called = call.namespace.name
            call.namespace = timelines.head(db, call.namespace.id)
            if call.namespace.name != called:
                raise Conflict("the namespace was deleted before the command began")
            leases.refuse(db, call.namespace, call.principal, now_ns=self._database.now_ns())
            call.directory = _directory(db, call.namespace.at, call.options.cwd)
            plain = namespaces.wants_copy(db, call.namespace.id)
            call.copy = copy = self._copies.take(call.namespace, sandbox, plain=plain)
            copy.bring_to(db, call.namespace.at, call.contents)
            call.init = _init(db, call.namespace.at, call)
        copy.start()

    async def _execute(self, sandbox: Sandbox, call: _Call) -> Outcome:
        options, output, copy = call.options, call.output, call.copy
        assert copy is not None, "it was prepared"
        root = sandbox.inner_root or str(copy.root)
        script = shell.compose(call.command, call.init, root, directory=call.directory)
        if output is not None:
            output.begin(root, init=call.init is not None)
        try:
            outcome = await sandbox.run(
                Command(
                    script,
                    copy.root,
                    overlay=copy.overlay,
                    stdin=options.stdin,
                    timeout=options.seconds,
                    output_bytes=limits.EXEC_OUTPUT_BYTES,
                    env=options.env,
                    hear=None if output is None else output.hear,
                )
            )
        except SandboxFailed as error:  # it names folders of this machine
            _log.error("a command could not be started: %s", error)
            raise SandboxMissing("the command could not be started; the server's log says why") from error
        if output is not None:
            output.end(stdout_cut=outcome.stdout_truncated, stderr_cut=outcome.stderr_truncated)
        if outcome.over_quota is not None:
            raise QuotaExceeded(
                f"the command went over its limit of {outcome.over_quota} and was killed; nothing of it was kept"
            )
        return outcome

    def _finish(self, sandbox: Sandbox, call: _Call, outcome: Outcome, lease: Lease) -> ExecResult:
        """Takes in what the command did, in one transaction with its event."""
        copy = call.copy
        assert copy is not None, "a command ran in it"
        try:
            with self._database.read() as db:
                scan = copy.changes(db, call.contents, self._quota)
            call.warnings += _warnings(scan)
            result = _result(sandbox, copy, call, outcome)

            def commit(tx: Connection) -> tuple[Ingested, ExecResult]:
                now = self._database.now_ns()
                head = timelines.head(tx, call.namespace.id)
                leases.check(tx, head, call.principal, now_ns=now)
                if head.at.timeline != call.namespace.at.timeline or not locks.held(
                    tx, lease, now_us=now // 1000
                ):
                    raise Conflict(
                        "the namespace was restored or taken over while the command ran; nothing of it was kept"
                    )
                who = call.principal
                done = ingest(tx, head, call.namespace.at, scan, now_ns=now, actor=who.key_id, step=who.step)
                self._quotas.check(head, done.namespace)
                told = msgspec.structs.replace(
                    _with_conflicts(result, done),
                    reference_id=references.with_change(tx, who, done.namespace, now_ns=now),
                )
                events.record(
                    tx,
                    principal=call.principal,
                    namespace=head.name,
                    kind="exec.completed",
                    data=_event(call, outcome, told),
                    now_ns=now,
                )
                answer = _timed_out(call) if outcome.timed_out else None
                answers.done(tx, who, *((408, answer.body) if answer else (200, told)), now_us=now // 1000)
                locks.release(tx, lease)
                return done, told

            done, result = self._database.write(commit)
            self._keep(copy, done, call.contents)
            return result
        finally:
            self._locks.give_back(lease)

    def _keep(self, copy: WorkingCopy, done: Ingested, contents: Contents) -> None:
        try:
            with self._database.read() as db:
                copy.keep(db, done.namespace.at, done.others, contents)
        except OSError:  # the version is committed; the copy is a cache
            _log.warning("a working copy is made anew: its state could not be kept", exc_info=True)

    def _give_back(self, call: _Call) -> None:
        copy, call.copy = call.copy, None
        if copy is not None:
            copy.give_back()


def _timed_out(call: _Call) -> CommandTimeout:
    return CommandTimeout(
        f"the command ran longer than {call.options.seconds:g} s and was killed; the files it had written are "
        "kept: write progress to files so that a retry can resume"
    )


def _directory(db: Connection, at: At, path: str) -> str:
    """A directory of the namespace by its real path. Links are followed here, in the store: the shell of a command
    that is not isolated would follow them anywhere on the host.
    """
    if not path:
        return path
    real, entry = links.follow(db, at, path)
    if real and (entry is None or entry.kind is not Kind.DIRECTORY):
        raise BadRequest(f"cwd: {shown(path)} is no directory")
    return real


def _init(db: Connection, at: At, call: _Call) -> str | None:
    entry = timelines.find(db, at, shell.INIT)
    if entry is None or entry.kind is not Kind.FILE or entry.content is None:
        return None
    if entry.size > limits.EXEC_COMMAND_BYTES:
        call.warnings.append(f"{shown(shell.INIT)}: over {limits.EXEC_COMMAND_BYTES:,} bytes, not sourced")
        return None
    payload = timelines.read_content(db, entry.content)
    return b"".join(call.contents.stream(payload)).decode("utf-8", "surrogateescape")


def _warnings(scan: Scan) -> list[str]:
    if any(found.path == ROOT for found in scan.found):
        return [
            *scan.warnings,
            f"{ROOT}/{ROOT}: only commands reach it; the calls for files take that name for the root itself",
        ]
    return scan.warnings


def _result(sandbox: Sandbox, copy: WorkingCopy, call: _Call, outcome: Outcome) -> ExecResult:
    root = sandbox.inner_root or str(copy.root)
    stderr = shell.shown(outcome.stderr, root, cut=outcome.stderr_truncated, init=call.init is not None)
    hint = network_hint(outcome.stderr) if sandbox.network == "none" and outcome.exit_code != 0 else None
    if hint is not None:
        stderr += f"{hint}\n" if stderr.endswith("\n") else f"\n{hint}\n"
    return ExecResult(
        exit_code=outcome.exit_code,
        stdout=shell.shown(outcome.stdout, root, cut=outcome.stdout_truncated),
        stderr=stderr,
        duration_ms=outcome.duration_ms,
        stdout_truncated=outcome.stdout_truncated,
        stderr_truncated=outcome.stderr_truncated,
        warnings=call.warnings,
    )


def _with_conflicts(result: ExecResult, done: Ingested) -> ExecResult:
    if not done.conflicts:
        return result
    return msgspec.structs.replace(result, conflicts=[shown(path) for path in done.conflicts])


def _event(call: _Call, outcome: Outcome, result: ExecResult) -> dict[str, Any]:
    """What is told of a command: no stdin, no environment, and of its output the beginning."""
    data: dict[str, Any] = {
        "command": shell.prefix(call.command, _EVENT_COMMAND_BYTES),
        "exit_code": result.exit_code,
        "duration_ms": result.duration_ms,
        "stdout": shell.prefix(result.stdout, _EVENT_BYTES),
        "stderr": shell.prefix(result.stderr, _EVENT_BYTES),
        "stdout_bytes": len(outcome.stdout),
        "stderr_bytes": len(outcome.stderr),
        "stdin_bytes": len(call.options.stdin or b""),
    }
    if call.options.cwd:
        data["cwd"] = shown(call.options.cwd)
    if call.options.timeout is not None:
        data["timeout"] = call.options.timeout
    for name in ("stdout_truncated", "stderr_truncated", "warnings", "conflicts"):
        if value := getattr(result, name):
            data[name] = value[:_EVENT_PATHS] if isinstance(value, list) else value
    if data["command"] != call.command:
        data["command_bytes"] = len(call.command.encode())
    if outcome.timed_out:
        data["timed_out"] = True
    return data
