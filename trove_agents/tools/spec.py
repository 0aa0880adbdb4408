"""What a tool is, whatever the framework: a name, words for the model, arguments, a flow, and a text."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import cache
from typing import Any, Generic, TypeVar

import msgspec

from trove_agents.client.call import Flow, Step
from trove_agents.client.capabilities import Capabilities
from trove_agents.errors import NotSupported, TroveError
from trove_agents.tools.text import MAX_CHARACTERS

A = TypeVar("A", bound=msgspec.Struct)
R = TypeVar("R")
R_co = TypeVar("R_co", covariant=True)


class InvalidArguments(TroveError):
    """What the model sent does not fit the tool's schema, or what is there. Nothing was done."""

    code = "invalid-arguments"
    recovery = "fix-arguments"


@dataclass(frozen=True, slots=True)
class ToolContext:
    """What the tool calls of one client share. Make one for each client, and keep it."""

    max_characters: int = MAX_CHARACTERS
    """Of one result's text for the model."""
    changes: bool = True
    """Find out which files a command changed, where the server compares states: two short requests more."""
    keep_output: bool = True
    """Put output that is cut for the model into a file of the workspace, where it can be read in parts."""
    capabilities: Capabilities = field(default_factory=Capabilities, init=False, repr=False)
    """What the server has, asked once."""

    def has(self, *names: str) -> Flow[bool]:
        """Whether the server has all these capabilities."""
        yield from self.capabilities.learn()
        return all(map(self.capabilities.known, names))

    def need(self, name: str, step: Step[R]) -> Flow[R]:
        """The result of a step, where the server has the capability for it.

        Raises:
            NotSupported: it has not; something else the model can do instead.
        """
        try:
            yield from self.capabilities.check(name)
        except NotSupported as error:
            raise NotSupported(str(error), recovery="adapt") from error
        return (yield from step)


@dataclass(frozen=True, slots=True)
class Attachment:
    """A file for the model to look at, beside the text."""

    path: str
    """``workspace/...``"""
    media_type: str
    data: bytes = field(repr=False)


@dataclass(frozen=True, slots=True)
class ToolResult(Generic[R_co]):
    """What a tool gives back."""

    text: str
    """For the model."""
    value: R_co
    """For the program."""
    plain: dict[str, Any]
    """What may be stored beside the text: the value in JSON's types, without what would be long there."""
    attachments: tuple[Attachment, ...] = ()
    """For the model, after the text: images and PDFs that were read."""


@dataclass(frozen=True, slots=True)
class ToolSpec(Generic[A, R]):
    """One tool."""

    name: str
    description: str
    """For the model: what it does, and what cannot be guessed from its name."""
    arguments: type[A]
    """A msgspec Struct; a field's description is told to the model."""
    action: Callable[[A, ToolContext], Step[R]]
    """One call, or a flow of several."""
    render: Callable[[R, int], str]
    """The text for the model, of at most about that many characters."""
    record: Callable[[R], dict[str, Any]] = msgspec.to_builtins
    """What is told of the value in ``ToolResult.plain``."""
    attach: Callable[[R], tuple[Attachment, ...]] = lambda _: ()
    """What the model is shown beside the text."""
    changes_files: bool = True
    """Whether a call may change the workspace."""

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
        self,
        arguments: Mapping[str, Any],
        context: ToolContext | None = None,
        *,
        max_characters: int = MAX_CHARACTERS,
    ) -> Flow[ToolResult[R]]:
        """The whole exchange, for a client's ``run``.

        Args:
            arguments: As the model sent them.
            context: What the client's calls share; None: nothing but the call itself is sent.
            max_characters: Of the text, where no context says it.

        Raises (inside ``run``):
            InvalidArguments: before anything is sent, or when what is there does not fit.
            TroveError: as the client's methods do; ``for_model`` tells which ones a model can act on.
        """
        if context is None:
            context = ToolContext(max_characters, changes=False, keep_output=False)
        return self.result((yield from self.action(self.parse(arguments), context)), context)

    def result(self, value: R, context: ToolContext) -> ToolResult[R]:
        """What the tool gives back for the value that its action came to."""
        text = self.render(value, context.max_characters)
        return ToolResult(text, value, self.record(value), self.attach(value))


@cache
def _encoded(arguments: type[msgspec.Struct]) -> bytes:
    _, components = msgspec.json.schema_components([arguments], ref_template="{name}")
    schema = components[arguments.__name__]
    # The class's name and docstring are for developers
    return msgspec.json.encode({key: schema[key] for key in schema if key not in {"title", "description"}})


def _schema(arguments: type[msgspec.Struct]) -> dict[str, Any]:
    schema: dict[str, Any] = msgspec.json.decode(_encoded(arguments))
    return schema
