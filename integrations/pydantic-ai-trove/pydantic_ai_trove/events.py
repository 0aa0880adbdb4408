"""What a run tells of its workspace and its payments, in its event stream."""

from dataclasses import dataclass
from typing import Any

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


@dataclass(kw_only=True)
class Spent(CapabilityEvent, namespace="trove", name="spent"):
    """A tool was paid for, or what it did cost is in doubt."""

    tool: str
    receipt: dict[str, Any]


@dataclass(kw_only=True)
class PaymentWaits(CapabilityEvent, namespace="trove", name="payment_waits"):
    """A payment waits for a person's yes."""

    tool: str
    reason: str
    price_usd: str | None
    """The most that it can cost; None: that cannot be told."""
