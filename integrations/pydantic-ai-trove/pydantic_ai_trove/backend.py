"""A namespace as the workspace of a run: for every tool that speaks to ``ctx.workspace``."""

import asyncio
import errno
import math
import os
import posixpath
import uuid
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Final

from pydantic_ai.workspaces import (
    CommandResult,
    FileEntry,
    SupportsCommands,
    SupportsFilesystem,
    SupportsRealpath,
    WorkspaceBackend,
    WorkspaceCommand,
    WorkspaceError,
    WorkspaceOutputLimitError,
    WorkspaceRef,
    WorkspaceTimeoutError,
    WorkspaceUnavailableError,
)

from pydantic_ai_trove.acting import current, marked
from pydantic_ai_trove.clients import Source, client_of, own_namespace
from pydantic_ai_trove.records import PROVIDER
from pydantic_ai_trove.verbatim import LIMIT, carrier_of, outputs, script_of
from trove_agents import (
    AsyncTroveClient,
    FileStat,
    NotSupported,
    TroveAuthError,
    TroveConflictError,
    TroveConnectionError,
    TroveError,
    TroveNotFoundError,
    TroveQuotaError,
    TroveTimeoutError,
)

ROOT: Final = "/workspace"
"""Where commands find the files."""
_TOP: Final = "workspace"
"""The same in the Files API."""
_SECONDS: Final = 600.0


class TroveWorkspaceBackend(WorkspaceBackend, SupportsCommands, SupportsFilesystem, SupportsRealpath):
    """Files and commands of one namespace.

    Built without I/O. With ``ref`` it attaches with its first operation, and raises ``WorkspaceUnavailableError`` if
    the namespace is gone. Otherwise it works in ``namespace``, which comes into being with the first operation unless
    it is there: what it holds is kept.

    Commands and file operations see the same files, at ``/workspace``; files elsewhere, such as in ``/tmp``, last as
    long as a command. **A command's changes are there when it has ended**, and every process that it started ends
    with it. With the sandbox ``none`` commands reach the files by relative paths only.

    Args:
        source: A ``Trove``, what ``connect()`` returns, or an ``AsyncTroveClient``.
        namespace: Where to work; None: the client's own, or a new one.
        ref: Of an earlier run, instead of ``namespace``.
        timeout: Seconds for commands that are given none. Servers allow 600 unless their owner says otherwise.

    Raises:
        UserError: the source is a client of another namespace.
        ValueError: both ``namespace`` and ``ref`` are given, or a reference of another provider.
    """

    def __init__(
        self,
        source: Source,
        *,
        namespace: str | None = None,
        ref: WorkspaceRef | None = None,
        timeout: float = _SECONDS,
    ) -> None:
        if ref is not None and (namespace is not None or ref.provider != PROVIDER):
            raise ValueError(f"give a namespace, or a reference of {PROVIDER!r}")
        self._ref = ref
        self._namespace = (
            ref.id if ref is not None else namespace or own_namespace(source) or f"ws-{uuid.uuid4().hex}"
        )
        self._source = source
        self._client: AsyncTroveClient | None = None
        self._timeout = timeout
        self._lock = asyncio.Lock()
        self._ready = False

    @property
    def ref(self) -> WorkspaceRef | None:
        """The namespace, once it is known to be there."""
        return self._ref

    @property
    def namespace(self) -> str:
        """Where it works, or will."""
        return self._namespace

    @property
    def source(self) -> Source:
        """Where its clients come from."""
        return self._source

    def connection(self) -> AsyncTroveClient:
        """A client of the namespace, whether that is there or not. Without I/O."""
        if self._client is None:
            self._client = client_of(self._source, self._namespace)
        return self._client

    async def client(self) -> AsyncTroveClient:
        """A client of the namespace, which is there now. Its changes are marked with the step that the run is at.

        Raises:
            WorkspaceUnavailableError: the namespace is gone, or the key may not use it.
        """
        client = self.connection()
        if not self._ready:
            async with self._lock:
                await self._attach(client)
                self._ready = True
        return marked(client, current())

    async def aclose(self) -> None:
        """Closes the connections that it opened itself; the next operation opens them again."""
        client, self._client = self._client, None
        if client is not None and client is not self._source:
            await client.aclose()

    async def working_dir(self) -> str:
        """``/workspace``."""
        await self.client()
        return ROOT

    async def run(
        self,
        command: WorkspaceCommand,
        *,
        shell: bool = False,
        env: Mapping[str, str] | None = None,
        timeout: float | None = None,  # noqa: ASYNC109 (of the command)
    ) -> CommandResult:
        """Runs a command with bash, as written: nothing in it and in its output is rewritten.

        Raises:
            WorkspaceTimeoutError: it ran past its time and was stopped. Files it had written are kept.
            WorkspaceOutputLimitError: it printed more than about 700 KB.
            WorkspaceError: this server runs no commands, or the workspace would be over its quota.
            TypeError, ValueError: the command is in the wrong form, or cannot be sent.
        """
        script = script_of(command, shell=shell)
        carrier = carrier_of(script)
        if timeout is not None and not (math.isfinite(timeout) and timeout > 0):
            raise ValueError("timeout must be a positive finite number or None")
        client = await self.client()
        seconds = self._timeout if timeout is None else timeout
        with _command_errors():
            try:
                result = await client.exec_detailed(carrier, stdin=script, timeout=seconds, env=env)
            except NotSupported:
                if timeout is not None or env is not None:
                    raise
                result = await client.exec_detailed(carrier, stdin=script)
        stdout, stderr = outputs(result.stdout)
        if result.stdout_truncated:
            raise WorkspaceOutputLimitError(
                "the command printed too much; redirect its output to a file and read that in parts",
                limit=LIMIT,
                stdout=stdout,
                stderr=stderr,
            )
        # What the shell itself says, such as of init.sh, is no part of the command's output but all that tells
        return CommandResult(exit_code=result.exit_code, stdout=stdout, stderr=result.stderr + stderr)

    async def read_bytes(self, path: str) -> bytes:
        """Reads a file of at most 100 MB."""
        client, below = await self.client(), _inside(path)
        if below == _TOP:
            raise IsADirectoryError(path)
        try:
            found, there = await asyncio.gather(client.read_bytes_full(below), client.stat(below))
        except TroveError as error:
            raise await self._reason(client, path, error) from error
        _permitted(there, 0o400, path)
        if found.truncated:
            raise WorkspaceError(f"{path} is over 100 MB: read it in parts, with a command")
        return found.content

    async def write_bytes(self, path: str, data: bytes) -> None:
        """Writes a file of at most 100 MB, with the directories above it; through a link, if it is one."""
        client, below = await self.client(), _writable(path)
        if below == _TOP:
            raise IsADirectoryError(path)
        try:
            there = await client.stat(below)
        except TroveError as error:
            if error.status_code != 404:
                raise await self._reason(client, path, error) from error
        else:
            if there.kind == "link":
                return await self.write_bytes(await self.realpath(path), data)
            _permitted(there, 0o200, path)
        try:
            await client.upload(below, data)
        except TroveError as error:
            raise await self._reason(client, path, error) from error
        return None

    async def stat(self, path: str) -> FileEntry:
        """What is at a path; of a link, what it leads to."""
        client, below = await self.client(), _inside(path)
        name = posixpath.basename(posixpath.normpath(path))
        if below == _TOP:
            return FileEntry(name=name, path=path, is_dir=True, size=None)
        try:
            found = await client.stat(below)
            if found.kind != "link":
                return FileEntry(
                    name=name, path=path, is_dir=found.kind == "directory", size=found.size_bytes
                )
            if await self._is_directory(client, below):
                return FileEntry(name=name, path=path, is_dir=True, size=None)
            size = (await client.read_file(below)).size_bytes
        except TroveError as error:
            raise await self._reason(client, path, error) from error
        return FileEntry(name=name, path=path, is_dir=False, size=size)

    async def list_dir(self, path: str) -> Sequence[FileEntry]:
        """The entries of a directory, by name, of any number."""
        client, below = await self.client(), _inside(path)
        try:
            found = [entry async for entry in client.iter_dir(below)]
        except TroveError as error:
            raise await self._reason(client, path, error) from error
        entries = [
            FileEntry(
                name=entry.name,
                path=posixpath.join(path, entry.name),
                is_dir=entry.is_dir or (entry.is_link and await self._is_directory(client, entry.path)),
                size=None if entry.is_link else entry.size_bytes,
            )
            for entry in found
        ]
        return sorted(entries, key=lambda entry: entry.name)

    async def make_dir(self, path: str) -> None:
        """Makes a directory and those above it; one that is there stays."""
        client, below = await self.client(), _writable(path)
        if below == _TOP:
            return
        try:
            await client.mkdir(below)
        except TroveConflictError as error:
            found = await self.exists(path)
            raise (FileExistsError if found else NotADirectoryError)(path) from error
        except TroveError as error:
            raise await self._reason(client, path, error) from error

    async def remove(self, path: str) -> None:
        """Deletes a file, a link, or a directory with all it holds, but never the workspace itself."""
        if posixpath.normpath(path) in {"/", ROOT}:
            raise ValueError("the workspace itself, and what is above it, is not removed")
        client, below = await self.client(), _writable(path)
        try:
            await client.delete(below)
        except TroveError as error:
            raise await self._reason(client, path, error) from error

    async def exists(self, path: str) -> bool:
        """Whether something is at a path; False for a link that leads nowhere."""
        try:
            await self.stat(path)
        except (FileNotFoundError, NotADirectoryError):
            return False
        return True

    async def realpath(self, path: str) -> str:
        """Where a path leads. Without links on the way, which is looked for at once, no command is needed."""
        if not posixpath.isabs(path):
            raise ValueError(f"path must be absolute, got {path!r}")
        client = await self.client()
        if await self._has_link(client, path):
            result = await self.run(["realpath", "-m", "--", path])
            if result.exit_code != 0:
                raise OSError(errno.ELOOP, result.stderr.strip() or os.strerror(errno.ELOOP), path)
            return result.stdout.removesuffix("\n")
        return posixpath.normpath(path)

    async def _attach(self, client: AsyncTroveClient) -> None:
        """Looks whether the namespace is there; a new one is begun, and only then has a reference."""
        name = self._namespace
        try:
            await client.namespace_info(name)
        except TroveNotFoundError as error:
            if self._ref is not None:
                raise WorkspaceUnavailableError(f"the namespace {name!r} is gone") from error
            await client.create_reference(step="begin")
        except TroveAuthError as error:
            raise WorkspaceUnavailableError(f"the key may not use the namespace {name!r}: {error}") from error
        except NotSupported:
            pass  # a plain server, where every namespace is there once it is used
        if self._ref is None:
            self._ref = WorkspaceRef(provider=PROVIDER, id=name)

    async def _has_link(self, client: AsyncTroveClient, path: str) -> bool:
        """Whether one of a path's names is a link. Up to the first link, ``..`` means what it says."""
        on_the_way: list[str] = []
        done: list[str] = []
        for name in path.split("/"):
            if name == "..":
                del done[-1:]
            elif name not in {"", "."}:
                done.append(name)
                if done[0] == _TOP and len(done) > 1:
                    on_the_way.append("/".join(done))
        found = await asyncio.gather(*(self._is_link(client, each) for each in dict.fromkeys(on_the_way)))
        return any(found)

    async def _is_link(self, client: AsyncTroveClient, below: str) -> bool:
        try:
            return (await client.stat(below)).kind == "link"
        except TroveNotFoundError:
            return False
        except TroveError as error:
            if error.status_code == 400:  # a link above it leads out, or round in circles
                return True
            raise

    async def _is_directory(self, client: AsyncTroveClient, below: str) -> bool:
        """Whether a link leads to a directory of the workspace."""
        try:
            await anext(client.iter_dir(below, page_size=1), None)
        except TroveError as error:
            if error.status_code in {400, 404}:
                return False
            raise
        return True

    async def _reason(self, client: AsyncTroveClient, path: str, error: TroveError) -> Exception:
        """The error of a file operation in the builtin terms, where it is about the path."""
        if isinstance(error, TroveQuotaError):
            return WorkspaceError(str(error))
        if error.status_code not in {400, 404, 409}:
            return error
        above = _inside(path)
        while above != _TOP:
            try:
                kind = (await client.stat(above)).kind
            except TroveError:
                above = posixpath.dirname(above)
                continue
            whole = above == _inside(path)
            if kind == "link":
                return FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), path)
            if whole and kind == "directory":
                return IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR), path)
            if kind == "file":
                return NotADirectoryError(errno.ENOTDIR, os.strerror(errno.ENOTDIR), path)
            break
        if error.status_code == 404:
            return FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), path)
        return OSError(errno.EINVAL, str(error), path)


@contextmanager
def _command_errors() -> Iterator[None]:
    """The errors of a command in the terms of the protocol. What may pass by itself stays what it is."""
    try:
        yield
    except TroveConnectionError:
        raise
    except TroveTimeoutError as error:
        raise WorkspaceTimeoutError(str(error)) from error
    except TroveQuotaError as error:
        raise WorkspaceError(str(error)) from error
    except TroveError as error:
        if error.status_code == 422:
            raise ValueError(str(error)) from error
        if error.status_code == 501:
            raise WorkspaceError(str(error)) from error
        raise


def _permitted(there: FileStat, bit: int, path: str) -> None:
    """Raises ``PermissionError`` where a command could not do it either."""
    if not there.mode & bit:
        raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), path)


def _inside(path: str) -> str:
    """A path as the Files API writes it: ``workspace/...``, or ``workspace`` for the root.

    Raises:
        FileNotFoundError: it is where only commands see anything: elsewhere, or below a directory of the root's own
            name, which the Files API cannot tell from the root.
        ValueError: it is not absolute.
    """
    if not posixpath.isabs(path):
        raise ValueError(f"path must be absolute, got {path!r}")
    plain = posixpath.normpath(path)
    if plain != ROOT and not plain.startswith(ROOT + "/"):
        raise FileNotFoundError(errno.ENOENT, f"only what is below {ROOT} is kept", path)
    if f"{plain}/".startswith(f"{ROOT}{ROOT}/"):
        raise FileNotFoundError(errno.ENOENT, f"only commands reach {ROOT}{ROOT}", path)
    return plain.removeprefix("/")


def _writable(path: str) -> str:
    """As ``_inside``, for what changes something.

    Raises:
        PermissionError: it is elsewhere.
    """
    try:
        return _inside(path)
    except FileNotFoundError as error:
        raise PermissionError(errno.EACCES, error.strerror, path) from error
