"""Directories as wholes: from this machine to a namespace, and back."""

import os
from collections.abc import Iterable
from pathlib import Path
from typing import Final

from trove_agents.client import files
from trove_agents.client.call import Call, Flow, Pairs, gather, nothing, value
from trove_agents.client.capabilities import Capabilities
from trove_agents.client.download import Downloaded, Sink, Target
from trove_agents.client.drive import AsyncDriver, Driver
from trove_agents.client.extract import Checked, Extraction
from trove_agents.client.local import Archive, AsyncArchive, Node, nodes
from trove_agents.client.states import State, at_query
from trove_agents.client.upload import Progress, Upload
from trove_agents.errors import NotSupported
from trove_agents.wire import names
from trove_agents.wire.files import FileResult, TreeResult, shown

TREE: Final = "tree"
"""The capability."""
_AT_ONCE: Final = 8
_COMMIT_SECONDS: Final = 600.0


def put_tree(path: str, body: Upload, *, replace: bool = False) -> Call[TreeResult]:
    """Puts an archive below a directory. Repeated, it changes nothing."""
    query: Pairs = (("path", files.relative(path)), *((("replace", "true"),) if replace else ()))
    return Call(
        "PUT",
        ("v1", "tree"),
        _TREE_RESULT,
        query,
        headers=(("content-type", "application/x-tar"),),
        body=body,
        work=_COMMIT_SECONDS,
        idempotent=True,
        once=True,
    )


def get_tree(path: str, *, at: State | None = None) -> Call[None]:
    """The archive of a directory, to be streamed."""
    query: Pairs = (("path", files.relative(path)), *at_query(at))
    return Call("GET", ("v1", "tree"), nothing, query, idempotent=True)


def upload_tree(
    capabilities: Capabilities,
    path: str,
    body: Upload,
    found: list[Node],
    *,
    replace: bool,
    progress: Progress | None,
) -> Flow[TreeResult]:
    """As one archive where the server takes them, else file by file."""
    yield from capabilities.learn()
    if capabilities.known(TREE):
        return (yield from put_tree(path, body, replace=replace))
    if replace:
        raise NotSupported("this server takes no trees, so nothing can be replaced by one")
    return (yield from _one_by_one(path, found, progress))


def _one_by_one(path: str, found: list[Node], progress: Progress | None) -> Flow[TreeResult]:
    if link := next((node for node in found if node.member.kind == "link"), None):
        raise NotSupported(f"this server takes no links, such as {link.source}: ignore or follow them")
    top = files.relative(path).strip("/")
    wanted = [node for node in found if node.member.kind == "file"]
    total = sum(node.member.size for node in wanted)
    sent = 0
    for start in range(0, len(wanted), _AT_ONCE):
        some = wanted[start : start + _AT_ONCE]
        yield from gather(*(_one(top, node) for node in some))
        sent += sum(node.member.size for node in some)
        if progress is not None:
            progress(sent, total)
    return TreeResult(shown(top), len(wanted), total)


def _one(top: str, node: Node) -> Call[FileResult]:
    name = names.to_wire(node.member.path)
    return files.upload(f"{top}/{name}" if top else name, Upload(node.source))


class ArchivesMethods(Driver):
    """Directories of one namespace as wholes."""

    def upload_dir(
        self,
        local: str | os.PathLike[str],
        remote: str = "",
        *,
        ignore: Iterable[str] = (),
        follow_symlinks: bool = False,
        replace: bool = False,
        progress: Progress | None = None,
    ) -> TreeResult:
        """Puts what a local directory holds below a directory of the namespace, **at once**: all of it or nothing.

        Directories, also empty ones, files and symbolic links, with modes and times; at most 1 GB and 100,000 entries. Sent
        as it is read, never held whole, and again after a lost connection. Everything is looked at first: what cannot
        be read is told before anything is sent.

        **On a server that takes no trees** the files are uploaded one by one (eight at a time by the async client): that
        is not atomic, a failure leaves what was sent before, modes, times and empty directories are left out, and links are refused.

        Args:
            local: The directory. What it holds is sent, not its name.
            remote: Where that goes; made if it is not there.
            ignore: Globs in the manner of ``.gitignore``, without its ``!``: ``*.pyc`` in every directory, ``/build`` or
                ``docs/*.tmp`` from the top, ``**`` for any number of directories, ``node_modules/`` for directories only.
            follow_symlinks: Send what links lead to. Otherwise they stay links, wherever they lead.
            replace: What is below ``remote`` and not in ``local`` goes.
            progress: Called after each piece with the bytes sent and the total.

        Raises:
            OSError: something of ``local`` cannot be read, a file say; nothing was sent.
            TroveConflictError: without ``replace``, a file is where a directory should be, or the other way round.
            TroveQuotaError: the namespace would be larger than it may be.
            NotSupported: ``replace``, or a link, on a server that takes no trees; nothing was sent.
        """
        found = nodes(Path(local), ignore=ignore, follow_symlinks=follow_symlinks)
        archive = Archive(found)
        body = Upload(archive, progress, length=archive.length)
        return self.run(
            upload_tree(self._capabilities, remote, body, found, replace=replace, progress=progress)
        )

    def export(
        self, path: str = "", *, to: Target, at: State | None = None, progress: Progress | None = None
    ) -> Downloaded:
        """Writes a directory with all it holds into a tar archive (pax, not compressed), piece by piece.

        All of it is of one version, whatever happens meanwhile.

        Args:
            path: The directory; by default all of the namespace.
            to: As for ``download``: a path, which appears when the archive is whole, or an open file.
            at: As it was then: a snapshot, a reference or the id of one, a version, or a moment.
            progress: Called after each piece with the bytes received, and None.

        Raises:
            NotSupported: the server gives no trees.
            TroveNotFoundError: no such directory, or no such past.
            TroveConnectionError: the archive broke off.
        """
        sink = Sink(to, progress)
        self.run(self._capabilities.check(TREE))

        def once() -> Downloaded:
            with self.stream(get_tree(path, at=at)) as reply, sink.opened(reply.headers):
                check = Checked()
                for chunk in reply.chunks:
                    sink.write(chunk)
                    check.pass_over(chunk)
                    sink.tell()
                check.close()
            return Downloaded(sink.written, truncated=False, size_bytes=sink.written)

        return self.repeat(once, lambda: sink.can_restart)

    def download_dir(
        self,
        path: str,
        local: str | os.PathLike[str],
        *,
        at: State | None = None,
        overwrite: bool = False,
    ) -> TreeResult:
        """Makes a local directory of a directory of the namespace: directories, files and links, with modes and times.

        All of it is of one version. Nothing is written outside of ``local``, whatever names there are; links are made as
        they are and never written through. A failure before all has come leaves ``local`` as it was.

        Args:
            path: The directory; ``""`` for all of the namespace.
            local: Where it goes: not there yet, or an empty directory.
            at: As for ``export``.
            overwrite: ``local`` may hold something: what is in both is replaced, the rest stays. No file takes the place
                of a directory.

        Raises:
            FileExistsError: something is there, and not ``overwrite``.
            NotSupported: the server gives no trees.
            TroveNotFoundError: no such directory, or no such past.
            TroveConnectionError: the archive broke off.
        """
        extraction = Extraction(Path(local), overwrite=overwrite)
        self.run(self._capabilities.check(TREE))

        def once() -> TreeResult:
            with self.stream(get_tree(path, at=at)) as reply, extraction.opened():
                for chunk in reply.chunks:
                    extraction.write(chunk)
            return TreeResult(shown(files.relative(path).strip("/")), extraction.files, extraction.bytes)

        return self.repeat(once, lambda: True)


class AsyncArchivesMethods(AsyncDriver):
    """As ``ArchivesMethods``."""

    async def upload_dir(
        self,
        local: str | os.PathLike[str],
        remote: str = "",
        *,
        ignore: Iterable[str] = (),
        follow_symlinks: bool = False,
        replace: bool = False,
        progress: Progress | None = None,
    ) -> TreeResult:
        """See :meth:`TroveClient.upload_dir`."""
        import asyncio

        found = await asyncio.to_thread(nodes, Path(local), ignore=ignore, follow_symlinks=follow_symlinks)
        archive = await asyncio.to_thread(Archive, found)
        body = Upload(AsyncArchive(archive), progress, length=archive.length)
        return await self.run(
            upload_tree(self._capabilities, remote, body, found, replace=replace, progress=progress)
        )

    async def export(
        self, path: str = "", *, to: Target, at: State | None = None, progress: Progress | None = None
    ) -> Downloaded:
        """See :meth:`TroveClient.export`."""
        import asyncio

        sink = Sink(to, progress)
        await self.run(self._capabilities.check(TREE))

        async def once() -> Downloaded:
            async with self.stream(get_tree(path, at=at)) as reply:
                with sink.opened(reply.headers):
                    check = Checked()
                    async for chunk in reply.chunks:
                        await asyncio.to_thread(sink.write, chunk)
                        check.pass_over(chunk)
                        sink.tell()
                    check.close()
            return Downloaded(sink.written, truncated=False, size_bytes=sink.written)

        return await self.repeat(once, lambda: sink.can_restart)

    async def download_dir(
        self,
        path: str,
        local: str | os.PathLike[str],
        *,
        at: State | None = None,
        overwrite: bool = False,
    ) -> TreeResult:
        """See :meth:`TroveClient.download_dir`."""
        import asyncio

        extraction = await asyncio.to_thread(Extraction, Path(local), overwrite=overwrite)
        await self.run(self._capabilities.check(TREE))

        async def once() -> TreeResult:
            async with self.stream(get_tree(path, at=at)) as reply:
                with extraction.opened():
                    async for chunk in reply.chunks:
                        await asyncio.to_thread(extraction.write, chunk)
            return TreeResult(shown(files.relative(path).strip("/")), extraction.files, extraction.bytes)

        return await self.repeat(once, lambda: True)


_TREE_RESULT = value(TreeResult)
