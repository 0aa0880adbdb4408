"""A workspace as the backend of Deep Agents."""

import asyncio
import base64
from typing import Any, Final, TypeVar

from deepagents.backends.protocol import (
    DeleteResult,
    EditResult,
    ExecuteResponse,
    FileData,
    FileDownloadResponse,
    FileUploadResponse,
    GlobResult,
    GrepResult,
    LsResult,
    ReadResult,
    WriteResult,
)
from deepagents.backends.sandbox import MAX_BINARY_BYTES, BaseSandbox
from deepagents.backends.utils import EMPTY_OLD_STRING_ERROR
from langchain_core.runnables import RunnableConfig
from langgraph.config import get_config

from langchain_trove import exchange
from langchain_trove.clients import Clients, Source
from langchain_trove.exchange import Exchange, call
from langchain_trove.sandbox.places import OUTSIDE, ROOT, place_of, refusal, relative
from langchain_trove.sandbox.results import code, edit_refused, info, lines_of, told, with_absolute_paths
from langchain_trove.sandbox.workspaces import aworking, working
from trove_agents import (
    BytesContent,
    ExecResult,
    FileContent,
    FileInfo,
    ListResult,
    NotSupported,
    TroveClient,
    TroveError,
    TroveNotFoundError,
    TroveTimeoutError,
)
from trove_agents.tools import CATALOG, ToolResult

T = TypeVar("T")

_TIMED_OUT: Final = 124
"""As the command ``timeout`` says it."""
_WRITTEN: Final = 2_500_000
"""Characters of a text that is written as text; longer ones are uploaded."""


class TroveSandbox(BaseSandbox):
    """A workspace for ``create_deep_agent(backend=TroveSandbox(client))``: files and commands that can be taken back.

    Files lie in ``/workspace``; commands start there, see nothing else of yours, and have no network unless the server
    allows it. Reading, writing, editing, listing and deleting ask the server and start no command; ``glob`` and ``grep``
    run as commands. In a graph that ``langgraph_trove.bind`` binds it is the graph's workspace, whatever client it was given, and
    what it changes is recorded with the node that it is called in, also outside of tool calls. Edits of one file at the same time are all kept, or refused. What a server refuses for a reason that
    the model can act on is a result with ``error``; other ``TroveError`` are raised.

    Commands must be isolated: without (``sandbox="none"``) there is no ``/workspace`` for them to see.

    Args:
        client: Whose workspace: as for ``TroveToolkit``. With ``per_thread(client)`` each thread has its own; outside of a
            run that raises ``NoThread``.
        async_client: As for ``TroveToolkit``.
        timeout: Seconds that a command may take when the model asks for no other time; None: the server's 30.
    """

    def __init__(
        self,
        client: Source | None = None,
        *,
        async_client: Source | None = None,
        timeout: float | None = None,
    ) -> None:
        self._clients = Clients.of(client, async_client)
        self._timeout = timeout

    @property
    def id(self) -> str:
        """The namespace, of the run that asks."""
        config = _config()
        client = self._clients.asynchronous(config) or self._clients.sync(config)
        return f"trove-{client.namespace or 'locked'}"

    # Commands
    def execute(self, command: str, *, timeout: int | None = None) -> ExecuteResponse:
        """Runs a command in a fresh shell at ``/workspace``; both its outputs as they came, at most 1 MB."""
        return self._run(self._execute(command, timeout), changes=True)

    async def aexecute(self, command: str, *, timeout: int | None = None) -> ExecuteResponse:  # noqa: ASYNC109
        """As ``execute``."""
        return await self._arun(self._execute(command, timeout), changes=True)

    # Files
    def ls(self, path: str) -> LsResult:
        """What is in a directory."""
        return self._run(self._ls(path)) or super().ls(place_of(path))

    async def als(self, path: str) -> LsResult:
        """As ``ls``."""
        return await self._arun(self._ls(path)) or await super().als(place_of(path))

    def read(self, file_path: str, offset: int = 0, limit: int = 2000) -> ReadResult:
        """Lines of a text file, or a binary one as a whole."""
        return self._run(self._read(file_path, offset, limit)) or super().read(
            place_of(file_path), offset, limit
        )

    async def aread(self, file_path: str, offset: int = 0, limit: int = 2000) -> ReadResult:
        """As ``read``."""
        read = await self._arun(self._read(file_path, offset, limit))
        return read or await super().aread(place_of(file_path), offset, limit)

    def write(self, file_path: str, content: str) -> WriteResult:
        """Creates or replaces a text file, with the directories above it."""
        return self._run(self._write(file_path, content), changes=True)

    async def awrite(self, file_path: str, content: str) -> WriteResult:
        """As ``write``."""
        return await self._arun(self._write(file_path, content), changes=True)

    def edit(
        self,
        file_path: str,
        old_string: str,
        new_string: str,
        replace_all: bool = False,
    ) -> EditResult:
        """Replaces text in what the file is at that moment."""
        return self._run(self._edit(file_path, old_string, new_string, replace_all=replace_all), changes=True)

    async def aedit(
        self,
        file_path: str,
        old_string: str,
        new_string: str,
        replace_all: bool = False,
    ) -> EditResult:
        """As ``edit``."""
        return await self._arun(
            self._edit(file_path, old_string, new_string, replace_all=replace_all), changes=True
        )

    def delete(self, file_path: str) -> DeleteResult:
        """Deletes a file, or a directory with all it holds."""
        return self._run(self._delete(file_path), changes=True)

    async def adelete(self, file_path: str) -> DeleteResult:
        """As ``delete``."""
        return await self._arun(self._delete(file_path), changes=True)

    def grep(
        self, pattern: str, path: str | None = None, glob: str | None = None, *, max_count: int | None = None
    ) -> GrepResult:
        """Searches for a text, by ``grep``."""
        return with_absolute_paths(super().grep(pattern, place_of(path or ROOT), glob, max_count=max_count))

    async def agrep(
        self, pattern: str, path: str | None = None, glob: str | None = None, *, max_count: int | None = None
    ) -> GrepResult:
        """As ``grep``."""
        found = await super().agrep(pattern, place_of(path or ROOT), glob, max_count=max_count)
        return with_absolute_paths(found)

    def glob(self, pattern: str, path: str | None = None) -> GlobResult:
        """Finds files by name."""
        return super().glob(pattern, place_of(path or ROOT))

    async def aglob(self, pattern: str, path: str | None = None) -> GlobResult:
        """As ``glob``."""
        return await super().aglob(pattern, place_of(path or ROOT))

    def upload_files(self, files: list[tuple[str, bytes]]) -> list[FileUploadResponse]:
        """Puts files there, with the directories above them."""
        return [self._run(self._upload(path, content), changes=True) for path, content in files]

    async def aupload_files(self, files: list[tuple[str, bytes]]) -> list[FileUploadResponse]:
        """As ``upload_files``."""
        return [await self._arun(self._upload(path, content), changes=True) for path, content in files]

    def download_files(self, paths: list[str]) -> list[FileDownloadResponse]:
        """Gets files, at most 100 MB each."""
        return [self._run(self._download(path)) for path in paths]

    async def adownload_files(self, paths: list[str]) -> list[FileDownloadResponse]:
        """As ``download_files``."""
        return [await self._arun(self._download(path)) for path in paths]

    # What they do
    def _run(self, steps: Exchange[T], *, changes: bool = False) -> T:
        with working(self._clients, _config(), changes=changes) as client:
            return exchange.run(client, steps)

    async def _arun(self, steps: Exchange[T], *, changes: bool = False) -> T:
        async with aworking(self._clients, _config(), changes=changes) as client:
            if isinstance(client, TroveClient):
                return await asyncio.to_thread(exchange.run, client, steps)
            return await exchange.arun(client, steps)

    def _execute(self, command: str, timeout: int | None) -> Exchange[ExecuteResponse]:
        seconds = timeout or self._timeout  # 0 asks for no limit, which no server gives
        try:
            # One stream for both, or nobody could tell what came first
            result: ExecResult = yield call("exec_detailed", f"exec 2>&1\n{command}", timeout=seconds)
        except TroveTimeoutError as error:
            return ExecuteResponse(told(error), _TIMED_OUT)
        except TroveError as error:
            return ExecuteResponse(told(error))
        return ExecuteResponse(result.stdout, result.exit_code, result.stdout_truncated)

    def _ls(self, path: str) -> Exchange[LsResult | None]:
        """None: it is nothing of ours, but a command can look."""
        place = relative(path)
        if place is None:
            return None
        try:
            entries = yield from _entries(place)
        except TroveError as error:
            return LsResult(error=f"Path '{path}': {code(error)}")
        return LsResult(entries=[info(each) for each in entries])

    def _read(self, path: str, offset: int, limit: int) -> Exchange[ReadResult | None]:
        """None: as ``_ls``, or it is longer than the server gives at all."""
        place = relative(path)
        if place is None:
            return None
        try:
            found: FileContent = yield call("read_file", place)
            if found.encoding == "binary" or path.lower().endswith(".pdf"):
                return (yield from _binary(path, place, found))
            text = found.content or ""
            read = lines_of(path, text, offset, limit, is_whole=not found.truncated)
            if read is None and (whole := (yield from _whole(place))) is not None:
                read = lines_of(path, whole.decode(errors="replace"), offset, limit)
        except TroveError as error:
            return ReadResult(error=f"File '{path}': {code(error)}")
        return read

    def _write(self, path: str, content: str) -> Exchange[WriteResult]:
        place = relative(path)
        failed = f"Failed to write file '{path}'"
        if place is None:
            return WriteResult(error=f"{failed}: {refusal(path)}")
        try:
            if len(content) > _WRITTEN:
                yield call("upload", place, content.encode())
            else:
                yield call("write", place, content)
        except TroveError as error:
            return WriteResult(error=f"{failed}: {code(error)}")
        return WriteResult(path=path)

    def _edit(self, path: str, old: str, new: str, *, replace_all: bool) -> Exchange[EditResult]:
        if not old:
            return EditResult(error=EMPTY_OLD_STRING_ERROR)
        place = relative(path)
        if place is None:
            return EditResult(error=f"Error: Permission denied editing file '{path}': {OUTSIDE}")
        wanted = {"path": place, "old": old, "new": new, "all": replace_all}
        try:
            done: ToolResult[Any] = yield call("run", CATALOG["edit"].call(wanted))
        except TroveError as error:
            return EditResult(error=edit_refused(error, path, old))
        return EditResult(path=path, occurrences=done.value.replaced)

    def _delete(self, path: str) -> Exchange[DeleteResult]:
        place = relative(path)
        if place is None:
            return DeleteResult(error=f"Error deleting file '{path}': {OUTSIDE}")
        try:
            yield call("delete", place)
        except TroveNotFoundError:
            return DeleteResult(error=f"Error: '{path}' not found")
        except TroveError as error:
            return DeleteResult(error=f"Error deleting file '{path}': {told(error)}")
        return DeleteResult(path=path)

    def _upload(self, path: str, content: bytes) -> Exchange[FileUploadResponse]:
        place = relative(path)
        if place is None:
            return FileUploadResponse(path, error=refusal(path))
        try:
            yield call("upload", place, content)
        except TroveError as error:
            return FileUploadResponse(path, error=code(error))
        return FileUploadResponse(path)

    def _download(self, path: str) -> Exchange[FileDownloadResponse]:
        place = relative(path)
        if place is None:
            return FileDownloadResponse(path, error=refusal(path))
        try:
            if (yield from _unreadable(place)):  # the server would give it all the same
                return FileDownloadResponse(path, error="permission_denied")
            full = yield call("read_bytes_full", place)
        except TroveError as error:
            return FileDownloadResponse(path, error=code(error))
        if full.truncated:
            return FileDownloadResponse(path, error="the file is over 100 MB")
        return FileDownloadResponse(path, content=full.content)


def _config() -> RunnableConfig:
    try:
        return get_config()
    except RuntimeError:  # outside of a run
        return {}


def _entries(place: str) -> Exchange[list[FileInfo]]:
    listing: ListResult = yield call("list_dir", place)
    if not listing.truncated:
        return listing
    try:
        entries: list[FileInfo] = yield call("iter_dir", place)
    except NotSupported:
        return listing
    return entries


def _binary(path: str, place: str, found: FileContent) -> Exchange[ReadResult]:
    if found.size_bytes > MAX_BINARY_BYTES:
        too_large = f"Binary file exceeds maximum preview size of {MAX_BINARY_BYTES} bytes"
        return ReadResult(error=f"File '{path}': {too_large}")
    data: bytes = yield call("read_bytes", place)
    content = base64.b64encode(data).decode("ascii")
    return ReadResult(file_data=FileData(content=content, encoding="base64"))


def _whole(place: str) -> Exchange[bytes | None]:
    """A file that is longer than the server reads as text; None: it is over 100 MB."""
    full: BytesContent = yield call("read_bytes_full", place)
    return None if full.truncated else full.content


def _unreadable(place: str) -> Exchange[bool]:
    """Whether a command could not read it."""
    try:
        stat = yield call("stat", place)
    except NotSupported:
        return False
    return stat.kind == "file" and not stat.mode & 0o444
