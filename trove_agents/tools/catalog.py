"""All tools by name."""

from collections.abc import Mapping
from types import MappingProxyType
from typing import Any, Final

from trove_agents.tools.bash import BASH
from trove_agents.tools.find import GLOB, GREP, LIST
from trove_agents.tools.past import DIFF, RESTORE, SNAPSHOT_TOOL
from trove_agents.tools.read import READ
from trove_agents.tools.spec import ToolSpec
from trove_agents.tools.write import EDIT, WRITE

CATALOG: Final[Mapping[str, ToolSpec[Any, Any]]] = MappingProxyType(
    {spec.name: spec for spec in (BASH, READ, WRITE, EDIT, LIST, GLOB, GREP, SNAPSHOT_TOOL, RESTORE, DIFF)}
)
"""Everything a model can be offered. ``bash`` alone does for most; the others are for models that work better with
tools of one purpose, and for what a shell cannot do: look at images, and go back.
"""
DEFAULT: Final = ("bash",)
"""What is offered when nobody chooses."""
