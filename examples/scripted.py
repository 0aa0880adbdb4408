"""A model that plays its part from a script: it stands for yours in the examples, which so run offline."""

from collections.abc import Mapping, Sequence
from typing import Any

from langchain_core.language_models import BaseChatModel
from langchain_core.messages import AIMessage, BaseMessage, HumanMessage
from langchain_core.outputs import ChatGeneration, ChatResult

Turn = str | Mapping[str, Mapping[str, Any]]
"""Words that end a turn, or tools to call at once, each with its arguments."""


class Scripted(BaseChatModel):
    """Answers what the user said last. What comes next depends on the messages alone: the same again when a run is
    resumed, or taken back.
    """

    script: Mapping[str, Sequence[Turn]]
    """By what the user said."""

    @property
    def _llm_type(self) -> str:
        return "scripted"

    def bind_tools(self, tools: Sequence[Any], **options: Any) -> "Scripted":  # noqa: ARG002
        """Tools need no binding: the script knows them."""
        return self

    def _generate(self, messages: list[BaseMessage], *_: Any, **__: Any) -> ChatResult:
        last = max(at for at, message in enumerate(messages) if isinstance(message, HumanMessage))
        done = sum(isinstance(message, AIMessage) for message in messages[last:])
        turn = self.script[messages[last].text][done]
        if isinstance(turn, str):
            answer = AIMessage(turn)
        else:
            calls = [
                {"name": name, "args": dict(arguments), "id": f"{len(messages)}-{name}"}
                for name, arguments in turn.items()
            ]
            answer = AIMessage("", tool_calls=calls)
        return ChatResult(generations=[ChatGeneration(message=answer)])
