"""The address of a reply: a chat, and the topic in it."""

from dataclasses import dataclass
from typing import Any, ClassVar, Self

from mirt.errors import ErrorCode, PermanentError


@dataclass(frozen=True, slots=True)
class Address:
    """A chat, with the topic that the customer wrote in. As text: ``77``, or ``-10042#12``."""

    THREAD: ClassVar[str] = "#"

    chat: int
    thread: int | None = None

    @classmethod
    def read(cls, text: str) -> Self:
        """Return the address that is written as this text.

        Raises:
            PermanentError: ``CHANNEL_REFUSED``, the chat or the topic is not a number.
        """
        chat, _, thread = text.partition(cls.THREAD)
        try:
            return cls(int(chat), int(thread) if thread else None)
        except ValueError:
            reason = "telegram: the chat id is not a number"
        raise PermanentError(reason, ErrorCode.CHANNEL_REFUSED)

    @property
    def parameters(self) -> dict[str, Any]:
        """The parameters of a request that sends to this address."""
        thread = {} if self.thread is None else {"message_thread_id": self.thread}
        return {"chat_id": self.chat, **thread}

    def __str__(self) -> str:
        return str(self.chat) if self.thread is None else f"{self.chat}{self.THREAD}{self.thread}"
