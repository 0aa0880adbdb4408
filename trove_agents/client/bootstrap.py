"""Orientation: what an agent should know when it picks up a namespace, in one call."""

import re
from dataclasses import dataclass
from typing import Final

from trove_agents.client import files
from trove_agents.client.call import Flow, gather
from trove_agents.client.drive import AsyncDriver, Driver
from trove_agents.client.exec import INIT, get_init
from trove_agents.client.files import optional, read_file, text_of
from trove_agents.client.keys import me
from trove_agents.wire.files import FileInfo

MEMORY: Final = "workspace/.trove/agent.md"
_RECENT: Final = 10


@dataclass(frozen=True, slots=True)
class WorkspaceBootstrap:
    """A namespace at a glance."""

    namespace: str
    file_count: int
    """Files in the listing, ``.trove/`` left out; the listing may be ``truncated``."""
    last_modified_at: str | None
    recent_files: list[FileInfo]
    """The ten that changed last, newest first."""
    init_script: str | None
    """What every command starts with."""
    agent_memory: str | None
    """The note that the session before left at ``workspace/.trove/agent.md``."""
    truncated: bool

    def as_system_prompt_block(self) -> str:
        """The text for a system prompt. Lines are left out when there is nothing to say.

        What files hold cannot end the block, nor begin another: their ``<workspace>`` tags are written with
        ``&lt;``, and a file's name stays on its line.
        """
        lines = ["<workspace>", f"  namespace: {_inline(self.namespace)}"]
        if self.file_count == 0:
            lines.append("  files: 0 (empty)")
        else:
            edited = f"; last edited {_inline(self.last_modified_at)}" if self.last_modified_at else ""
            lines.append(
                f"  files: {self.file_count}{edited}{' (more, truncated)' if self.truncated else ''}"
            )
            if self.recent_files:
                lines.append("  recent: " + ", ".join(map(_sized, self.recent_files)))
        if self.init_script:
            script = _harmless(self.init_script).strip().replace("\r\n", "\n").replace("\n", "; ")
            lines.append(f"  init.sh: {_inline(script)}")
        if self.agent_memory:
            lines.append("  last_session: |")
            note = _harmless(self.agent_memory).rstrip().splitlines()
            lines += [f"    {line}" for line in note or [""]]
        lines.append("</workspace>")
        return "\n".join(lines)


def bootstrap(namespace: str | None) -> Flow[WorkspaceBootstrap]:
    """Reads listing, init script and note; the name as well, when it is only known to the server."""
    if namespace is None:
        namespace = (yield from me()).namespace or ""
    listing, init, memory = yield from gather(
        files.list_dir(recursive=True), get_init(), optional(read_file(MEMORY))
    )
    found = [
        entry for entry in listing if not entry.is_dir and not entry.path.startswith("workspace/.trove/")
    ]
    found.sort(key=lambda entry: entry.modified_at, reverse=True)
    return WorkspaceBootstrap(
        namespace=namespace,
        file_count=len(found),
        last_modified_at=found[0].modified_at if found else None,
        recent_files=found[:_RECENT],
        init_script=None if init is None else text_of(INIT, init),
        agent_memory=None if memory is None else text_of(MEMORY, memory),
        truncated=listing.truncated,
    )


class BootstrapMethods(Driver):
    """Orientation in one namespace."""

    namespace: str | None

    def bootstrap(self) -> WorkspaceBootstrap:
        """What an agent should know first: how many files, which changed last, the init script, and the note that
        the session before left.

        Meant for the start of a session: put ``as_system_prompt_block()`` of the result into the system prompt.
        To leave a note for the next session, ``write`` to ``workspace/.trove/agent.md``. Three requests (the async
        client sends them at once), works for a namespace never used, and raises ``TroveError`` 415 when script or
        note are not text.
        """
        return self.run(bootstrap(self.namespace))


class AsyncBootstrapMethods(AsyncDriver):
    """As ``BootstrapMethods``."""

    namespace: str | None

    async def bootstrap(self) -> WorkspaceBootstrap:
        """See :meth:`TroveClient.bootstrap`."""
        return await self.run(bootstrap(self.namespace))


_TAG: Final = re.compile(r"<(?=\s*/?\s*workspace)", re.IGNORECASE)
_BREAKS: Final = re.compile("[\x00-\x1f\x7f-\x9f\u2028\u2029]")


def _harmless(text: str) -> str:
    return _TAG.sub("&lt;", text)


def _inline(text: str) -> str:
    """Text that stays on its line: what could break it is shown as an escape."""
    return _BREAKS.sub(lambda match: match[0].encode("unicode_escape").decode(), _harmless(text))


def _sized(entry: FileInfo) -> str:
    size = "" if entry.size_bytes is None else f" ({entry.size_bytes}B)"
    return _inline(entry.path) + size
