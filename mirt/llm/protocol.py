"""Define the interface of an agent, and the values that it takes and returns."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final, Literal, Protocol

PHOTO: Final = "[фото]"
"""Text that replaces a photo of the customer in the content of a message."""


@dataclass(frozen=True, slots=True)
class Picture:
    """A picture that a customer sent. Its ``repr`` shows no content."""

    content: bytes = field(repr=False)
    media_type: str


@dataclass(frozen=True, slots=True)
class ChatMessage:
    """One message of a conversation, with its pictures if the agent can see them."""

    role: Literal["user", "assistant"]
    content: str
    pictures: Sequence[Picture] = ()


@dataclass(frozen=True, slots=True)
class Tool:
    """An action that the agent may ask for; ``parameters`` is a JSON Schema."""

    name: str
    description: str
    parameters: Mapping[str, Any]


class Number(str):
    """A number of JSON with its digits as written, so that money stays exact."""

    __slots__ = ()


@dataclass(frozen=True, slots=True)
class Action:
    """An action that the agent asks for: the name of a tool, and unchecked arguments.

    An action whose arguments cannot be understood has none, and is not ``is_readable``.
    """

    name: str
    arguments: Mapping[str, Any]
    is_readable: bool = field(default=True, compare=False)


@dataclass(frozen=True, slots=True)
class Completion:
    """An answer of the agent, with its tokens. The text is blank only if there are actions."""

    text: str
    model: str
    prompt_tokens: int
    completion_tokens: int
    actions: Sequence[Action] = ()


class Agent(Protocol):
    """A writer of answers to customers.

    Both methods raise ``RateLimitError``, ``ExternalServiceError`` (also for a completion that
    cannot be used), ``PermanentError`` (``LLM_REFUSED``; ``PromptRefusedError`` if less of the
    conversation may be taken), and ``SoftTimeLimitExceeded`` at the task's deadline.
    """

    def answer(
        self,
        conversation: Sequence[ChatMessage],
        *,
        summary: str | None,
        tools: Sequence[Tool] = (),
        notes: Sequence[str] = (),
    ) -> Completion:
        """Return a reply to the last messages; ``summary`` sums up all messages before them.

        ``notes`` tell the agent what has become of the actions that it asked for. The actions of
        the completion are of ``tools`` only.
        """
        ...

    def summarise(self, conversation: Sequence[ChatMessage], *, summary: str | None) -> Completion:
        """Return a summary of the conversation that includes the summary before it."""
        ...
