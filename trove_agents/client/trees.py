"""Trees: making directories, moving and copying files and all that a directory holds."""

from trove_agents.client.call import Call, post, value, wire_text
from trove_agents.client.drive import AsyncDriver, Driver
from trove_agents.client.files import relative
from trove_agents.wire.files import Directory, DirectoryRequest, Transferred, TransferRequest


def mkdir(path: str) -> Call[Directory]:
    """Makes a directory. Repeated, it says that it is there."""
    return post(
        ("v1", "files", "mkdir"), _DIRECTORY, DirectoryRequest(_sent(path)), idempotent=True, once=True
    )


def move(source: str, target: str, *, overwrite: bool = False) -> Call[Transferred]:
    """Moves. Not repeated: the second would find nothing."""
    return post(("v1", "files", "move"), _TRANSFERRED, _transfer(source, target, overwrite), once=True)


def copy(source: str, target: str, *, overwrite: bool = False) -> Call[Transferred]:
    """Copies. Repeated only when it may overwrite what the first made."""
    body = _transfer(source, target, overwrite)
    return post(("v1", "files", "copy"), _TRANSFERRED, body, idempotent=overwrite, once=True)


class TreesMethods(Driver):
    """Directories and whole trees of one namespace. For servers that have it: others raise ``NotSupported``."""

    def mkdir(self, path: str) -> bool:
        """Makes a directory, with those above it; whether it was not there before.

        Raises:
            TroveConflictError: a file is there, or where a directory above it should be.
            NotSupported: the server has no such call.
        """
        return self.run(self._capabilities.need("files.mkdir", mkdir(path))).created

    def move(self, source: str, target: str, *, overwrite: bool = False) -> Transferred:
        """Moves a file, or a directory with all it holds, at once: nobody sees half of it moved.

        Args:
            source: What to move. A symbolic link is moved itself.
            target: Its new path, not a directory to put it into; the directories above it are made.
            overwrite: What is at the target goes first, a directory with all it holds.

        Raises:
            TroveNotFoundError: nothing is at the source.
            TroveConflictError: something is at the target, and not ``overwrite``; one of the two paths is or lies
                below the other; or a file is where a directory above the target should be.
            NotSupported: the server has no such call.
        """
        call = move(source, target, overwrite=overwrite)
        return self.run(self._capabilities.need("files.move", call))

    def copy(self, source: str, target: str, *, overwrite: bool = False) -> Transferred:
        """Copies a file, or a directory with all it holds, at once. The contents are shared, not stored again.

        Takes and raises what ``move`` does. Files keep their modes and times.
        """
        call = copy(source, target, overwrite=overwrite)
        return self.run(self._capabilities.need("files.copy", call))


class AsyncTreesMethods(AsyncDriver):
    """As ``TreesMethods``."""

    async def mkdir(self, path: str) -> bool:
        """See :meth:`TroveClient.mkdir`."""
        return (await self.run(self._capabilities.need("files.mkdir", mkdir(path)))).created

    async def move(self, source: str, target: str, *, overwrite: bool = False) -> Transferred:
        """See :meth:`TroveClient.move`."""
        call = move(source, target, overwrite=overwrite)
        return await self.run(self._capabilities.need("files.move", call))

    async def copy(self, source: str, target: str, *, overwrite: bool = False) -> Transferred:
        """See :meth:`TroveClient.copy`."""
        call = copy(source, target, overwrite=overwrite)
        return await self.run(self._capabilities.need("files.copy", call))


_DIRECTORY = value(Directory)
_TRANSFERRED = value(Transferred)


def _sent(path: str) -> str:
    return wire_text(relative(path))


def _transfer(source: str, target: str, overwrite: bool) -> TransferRequest:
    return TransferRequest(_sent(source), _sent(target), overwrite)
