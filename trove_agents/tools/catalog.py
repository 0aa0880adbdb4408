"""All tools by name."""

from collections.abc import Mapping
from types import MappingProxyType
from typing import Any, Final

from trove_agents.tools.bash import BASH
from trove_agents.tools.spec import ToolSpec

CATALOG: Final[Mapping[str, ToolSpec[Any, Any]]] = MappingProxyType({spec.name: spec for spec in (BASH,)})
