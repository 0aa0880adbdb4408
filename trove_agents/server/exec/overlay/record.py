"""What is written down of strata and copies, so that the next process of this boot finds them again.

Like the state files of the other form a promise about files that are never synced. A record is small, whatever the
number of files.
"""

from pathlib import Path
from typing import Final

import msgspec

from trove_agents.server.exec import state
from trove_agents.server.timelines import At

_FORM: Final = 1


class Record(msgspec.Struct, array_like=True, frozen=True):
    """One stratum or one copy."""

    workspace: str
    timeline: int
    version: int
    below: str
    """The folder's name of the stratum under it; "" for none."""
    own: str
    """A copy's own folder; "" when it has none."""
    bytes: int
    form: int = _FORM
    boot: str = ""

    @property
    def at(self) -> At:
        return At(self.timeline, self.version)


_decode = msgspec.msgpack.Decoder(Record).decode
_encode = msgspec.msgpack.Encoder().encode


def load(path: Path) -> Record | None:
    """A record of this boot."""
    try:
        found = _decode(path.read_bytes())
    except (OSError, msgspec.MsgspecError):
        return None
    return found if found.form == _FORM and found.boot and found.boot == state.boot() else None


def save(path: Path, record: Record) -> None:
    """Writes a record; half of one is none. Without effect where a boot cannot be told from another."""
    if state.boot():
        state.write(path, _encode(msgspec.structs.replace(record, boot=state.boot())))
