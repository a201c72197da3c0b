"""What an agent is asked, and what it answers."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, Literal, Protocol

PHOTO: Final = "[фото]"
"""Stands in the content of a message for a photo that the customer sent."""


@dataclass(frozen=True, slots=True)
class ChatMessage:
    """One message of a conversation."""

    role: Literal["user", "assistant"]
    content: str


@dataclass(frozen=True, slots=True)
class Tool:
    """Something that the agent can have done; ``parameters`` is a JSON Schema."""

    name: str
    description: str
    parameters: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Action:
    """What the agent wants to have done. Only its name is known to be one of the tools."""

    name: str
    arguments: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Completion:
    """What the agent said and what it cost. Blank only if there is something to be done."""

    text: str
    model: str
    prompt_tokens: int
    completion_tokens: int
    actions: Sequence[Action] = ()


class Agent(Protocol):
    """Answers customers.

    Both methods raise ``RateLimitError``, ``ExternalServiceError`` (an empty completion is one),
    ``PermanentError`` (``LLM_REFUSED``), and ``SoftTimeLimitExceeded`` by the deadline of the work.
    """

    def answer(
        self,
        conversation: Sequence[ChatMessage],
        *,
        summary: str | None,
        tools: Sequence[Tool] = (),
    ) -> Completion:
        """Reply to the last messages; ``summary`` tells of what came before the conversation.

        The completion's actions are of ``tools`` only.
        """
        ...

    def summarise(self, conversation: Sequence[ChatMessage], *, summary: str | None) -> Completion:
        """Sum the conversation up, together with the summary before it."""
        ...
