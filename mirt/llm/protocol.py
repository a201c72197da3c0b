"""What an agent is asked, and what it answers."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final, Literal, Protocol

PHOTO: Final = "[фото]"
"""Stands in the content of a message for a photo that the customer sent."""


@dataclass(frozen=True, slots=True)
class ChatMessage:
    """One message of a conversation."""

    role: Literal["user", "assistant"]
    content: str


@dataclass(frozen=True, slots=True)
class Completion:
    """What the agent said and what it cost. Never blank."""

    text: str
    model: str
    prompt_tokens: int
    completion_tokens: int


class Agent(Protocol):
    """Answers customers.

    Both methods raise ``RateLimitError``, ``ExternalServiceError`` (an empty completion is one),
    ``PermanentError`` (``LLM_REFUSED``), and ``SoftTimeLimitExceeded`` by the deadline of the work.
    """

    def answer(self, conversation: Sequence[ChatMessage], *, summary: str | None) -> Completion:
        """Reply to the last messages; ``summary`` tells of what came before the conversation."""
        ...

    def summarise(self, conversation: Sequence[ChatMessage], *, summary: str | None) -> Completion:
        """Sum the conversation up, together with the summary before it."""
        ...
