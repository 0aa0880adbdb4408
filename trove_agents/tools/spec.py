"""What a tool is, whatever the framework: a name, words for the model, arguments, a flow, and a text."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cache
from typing import Any, Generic, TypeVar

import msgspec

from trove_agents.client.call import Flow, Step
from trove_agents.errors import TroveError
from trove_agents.tools.text import MAX_CHARACTERS

A = TypeVar("A", bound=msgspec.Struct)
R = TypeVar("R")
R_co = TypeVar("R_co", covariant=True)


class InvalidArguments(TroveError):
    """What the model sent does not fit the tool's schema. Nothing was done."""

    code = "invalid-arguments"
    recovery = "fix-arguments"


@dataclass(frozen=True, slots=True)
class ToolResult(Generic[R_co]):
    """What a tool gives back."""

    text: str
    """For the model."""
    value: R_co
    """For the program: the same result as the client's methods return it."""

    @property
    def plain(self) -> Any:
        """The value as dicts, lists and strings, for what is stored or sent as JSON."""
        return msgspec.to_builtins(self.value)


@dataclass(frozen=True, slots=True)
class ToolSpec(Generic[A, R]):
    """One tool."""

    name: str
    description: str
    """For the model: what it does, and what cannot be guessed from its name."""
    arguments: type[A]
    """A msgspec Struct; a field's description is told to the model."""
    action: Callable[[A], Step[R]]
    """One call, or a flow of several."""
    render: Callable[[R, int], str]
    """The text for the model, of at most about that many characters."""

    @property
    def parameters(self) -> dict[str, Any]:
        """The JSON Schema of the arguments: one object, without references. The caller's own copy."""
        return _schema(self.arguments)

    def parse(self, arguments: Mapping[str, Any]) -> A:
        """The arguments as values.

        Raises:
            InvalidArguments: they do not fit the schema.
        """
        unknown = sorted(set(arguments) - set(self.arguments.__struct_fields__))
        if unknown:
            known = ", ".join(self.arguments.__struct_fields__)
            raise InvalidArguments(f"{self.name} has no argument {unknown[0]!r}; it takes: {known}")
        try:
            return msgspec.convert(dict(arguments), self.arguments)
        except msgspec.ValidationError as error:
            raise InvalidArguments(f"{self.name}: {error}") from error

    def call(
        self, arguments: Mapping[str, Any], *, max_characters: int = MAX_CHARACTERS
    ) -> Flow[ToolResult[R]]:
        """The whole exchange, for a client's ``run``.

        Raises (inside ``run``):
            InvalidArguments: before anything is sent.
            TroveError: as the client's methods do; ``for_model`` tells which ones a model can act on.
        """
        value = yield from self.action(self.parse(arguments))
        return ToolResult(self.render(value, max_characters), value)


@cache
def _encoded(arguments: type[msgspec.Struct]) -> bytes:
    _, components = msgspec.json.schema_components([arguments], ref_template="{name}")
    schema = components[arguments.__name__]
    # The class's name and docstring are for developers
    return msgspec.json.encode({key: schema[key] for key in schema if key not in {"title", "description"}})


def _schema(arguments: type[msgspec.Struct]) -> dict[str, Any]:
    schema: dict[str, Any] = msgspec.json.decode(_encoded(arguments))
    return schema
