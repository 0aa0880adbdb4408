"""Namespaces of a workspace: which there are, what they hold, and the end of one."""

from collections.abc import AsyncIterator, Iterator

from trove_agents.client.call import Call, delete, get, patch, value
from trove_agents.client.drive import AsyncDriver, Driver
from trove_agents.wire.namespaces import NamespaceInfo, NamespacePage, NamespaceSettings, Workdir


def namespaces_page(cursor: str | None = None) -> Call[NamespacePage]:
    """One page, by name."""
    return get(("v1", "namespaces"), _PAGE, () if cursor is None else (("cursor", cursor),))


def namespace_info(name: str) -> Call[NamespaceInfo]:
    """One namespace."""
    return get(("v1", "namespaces", name), _INFO)


def configure_namespace(name: str, settings: NamespaceSettings) -> Call[NamespaceInfo]:
    """Changes what is given."""
    return patch(("v1", "namespaces", name), _INFO, settings)


def delete_namespace(name: str) -> Call[None]:
    """Deletes a namespace."""
    return delete(("v1", "namespaces", name), once=True)


def set_quota(name: str, max_files: int | None, max_bytes: int | None) -> Call[NamespaceInfo]:
    """Sets both. Repeated, it sets the same."""
    return configure_namespace(name, NamespaceSettings(quota_files=max_files, quota_bytes=max_bytes))


class NamespacesMethods(Driver):
    """Namespaces of one workspace. For servers that have it: others raise ``NotSupported``."""

    def list_namespaces(self) -> Iterator[NamespaceInfo]:
        """The namespaces that were used, by name, read page by page as they are asked for.

        A key that is locked to a namespace sees that one.

        Raises:
            NotSupported: the server has no such call.
        """
        self.run(self._capabilities.check("namespaces"))
        yield from self.pages(namespaces_page, lambda page: page.namespaces)

    def namespace_info(self, name: str) -> NamespaceInfo:
        """How much a namespace holds, since when it is there, and when it was last changed.

        Raises:
            TroveNotFoundError: it was never used, or was deleted.
            NotSupported: the server has no such call.
        """
        return self.run(self._capabilities.need("namespaces", namespace_info(name)))

    def configure_namespace(self, name: str, *, workdir: Workdir | None = None) -> NamespaceInfo:
        """Changes what is given of a namespace's settings, from its next command on.

        Args:
            name: a namespace that was used.
            workdir: how commands get their files. ``"copy"``: always in a plain folder of their own, where every
                program finds what it is used to; ``"auto"``: in the fastest way of the server's machine.

        Raises:
            TroveNotFoundError: it was never used, or was deleted.
            NotSupported: the server has no such call.
        """
        settings = NamespaceSettings(workdir=workdir)
        return self.run(self._capabilities.need("namespaces.settings", configure_namespace(name, settings)))

    def delete_namespace(self, name: str) -> None:
        """Deletes a namespace with its files and its snapshots. Forks that were made from it stay whole.

        The name can be used again, and is empty then. Keys that are locked to it cannot do this.

        Raises:
            TroveNotFoundError: it was never used, or was deleted.
            NotSupported: the server has no such call.
        """
        self.run(self._capabilities.need("namespaces", delete_namespace(name)))


class QuotasMethods(Driver):
    """What namespaces may grow to. For admin keys."""

    def set_quota(
        self, name: str, *, max_files: int | None = None, max_bytes: int | None = None
    ) -> NamespaceInfo:
        """Says what a namespace may grow to, which may be one that was never used; ``namespace_info`` shows it.

        What makes it larger raises ``TroveQuotaError`` then. What does not may be over: one can always delete.

        Args:
            name: The namespace.
            max_files: Files and symbolic links; None: what the server says for all.
            max_bytes: The sum of the files' sizes; None: as above.

        Raises:
            NotSupported: the server has no quotas.
        """
        return self.run(self._capabilities.need("quotas", set_quota(name, max_files, max_bytes)))


class AsyncQuotasMethods(AsyncDriver):
    """As ``QuotasMethods``."""

    async def set_quota(
        self, name: str, *, max_files: int | None = None, max_bytes: int | None = None
    ) -> NamespaceInfo:
        """See :meth:`TroveAdminClient.set_quota`."""
        return await self.run(self._capabilities.need("quotas", set_quota(name, max_files, max_bytes)))


class AsyncNamespacesMethods(AsyncDriver):
    """As ``NamespacesMethods``."""

    async def list_namespaces(self) -> AsyncIterator[NamespaceInfo]:
        """See :meth:`TroveClient.list_namespaces`; iterate with ``async for``."""
        await self.run(self._capabilities.check("namespaces"))
        async for each in self.pages(namespaces_page, lambda page: page.namespaces):
            yield each

    async def namespace_info(self, name: str) -> NamespaceInfo:
        """See :meth:`TroveClient.namespace_info`."""
        return await self.run(self._capabilities.need("namespaces", namespace_info(name)))

    async def configure_namespace(self, name: str, *, workdir: Workdir | None = None) -> NamespaceInfo:
        """See :meth:`TroveClient.configure_namespace`."""
        settings = NamespaceSettings(workdir=workdir)
        call = configure_namespace(name, settings)
        return await self.run(self._capabilities.need("namespaces.settings", call))

    async def delete_namespace(self, name: str) -> None:
        """See :meth:`TroveClient.delete_namespace`."""
        await self.run(self._capabilities.need("namespaces", delete_namespace(name)))


_PAGE = value(NamespacePage)
_INFO = value(NamespaceInfo)
