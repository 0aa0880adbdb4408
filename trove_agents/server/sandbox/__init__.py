"""Where commands run: one folder, no network unless asked for, nothing left when a command ends."""

from trove_agents.server.sandbox.choose import SANDBOXES, choose, probe
from trove_agents.server.sandbox.hint import network_hint
from trove_agents.server.sandbox.port import (
    Command,
    Limits,
    Network,
    Outcome,
    Overlay,
    Sandbox,
    SandboxError,
    SandboxFailed,
    SandboxUnavailable,
    Stream,
)
from trove_agents.server.sandbox.report import Report

__all__ = [
    "SANDBOXES",
    "Command",
    "Limits",
    "Network",
    "Outcome",
    "Overlay",
    "Report",
    "Sandbox",
    "SandboxError",
    "SandboxFailed",
    "SandboxUnavailable",
    "Stream",
    "choose",
    "network_hint",
    "probe",
]
