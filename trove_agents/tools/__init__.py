"""Tools for models, defined once and free of any framework.

A ``ToolSpec`` says what a model is told, checks what it sends, turns that into a flow of calls, and turns the
result into text. Integrations and the MCP server render specs in their framework's terms and add nothing of
their own to what a tool does.
"""

from trove_agents.tools.catalog import CATALOG, DEFAULT
from trove_agents.tools.failures import for_model
from trove_agents.tools.naming import namespace_of
from trove_agents.tools.spec import Attachment, InvalidArguments, ToolContext, ToolResult, ToolSpec
from trove_agents.tools.telling import arun_telling, run_telling
from trove_agents.tools.text import MAX_CHARACTERS

__all__ = [
    "CATALOG",
    "DEFAULT",
    "MAX_CHARACTERS",
    "Attachment",
    "InvalidArguments",
    "ToolContext",
    "ToolResult",
    "ToolSpec",
    "arun_telling",
    "for_model",
    "namespace_of",
    "run_telling",
]
