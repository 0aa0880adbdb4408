"""What a run tells of its workspace, in its event stream."""

from dataclasses import dataclass

from pydantic_ai import CapabilityEvent


@dataclass(kw_only=True)
class FilesChanged(CapabilityEvent, namespace="trove", name="files_changed"):
    """Tools changed files."""

    paths: list[str]
    """``workspace/...``, at most 1,000."""
    reference_id: str
    """What the files are now."""


@dataclass(kw_only=True)
class FilesFound(CapabilityEvent, namespace="trove", name="files_found"):
    """A run that goes on from a history found files that differ from it."""

    paths: list[str]
    """``workspace/...``, at most 1,000."""
    discarded: str | None
    """They were put back; this is a reference to what they were before. None: they were kept."""
