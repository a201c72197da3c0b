"""A model behind an OpenAI-compatible API: OpenAI, OpenRouter, and most others."""

from collections.abc import Sequence
from typing import Any, Final

from pydantic import SecretStr

from mirt.errors import ErrorCode, ExternalServiceError, PermanentError
from mirt.http import Answer, ExternalService
from mirt.llm import prompts
from mirt.llm.protocol import ChatMessage, Completion

LONGEST_WAIT: Final = 300.0
"""Seconds for an answer where the work has no deadline; tasks bring their own."""

TEMPERATURE: Final = 0.3
MAX_TOKENS: Final = 2048


class OpenAiAgent:
    """Asks one model. A completion that got lost is asked for again: it changed nothing outside."""

    def __init__(
        self, *, api_key: SecretStr, base_url: str, model: str, max_connections: int = 64
    ) -> None:
        """Take the key, the base up to ``/chat/completions``, and the model that is asked."""
        self._model = model
        self._service = ExternalService(
            "llm",
            base_url,
            headers={"Authorization": SecretStr(f"Bearer {api_key.get_secret_value()}")},
            secrets=[api_key],
            timeout=LONGEST_WAIT,
            refusal_code=ErrorCode.LLM_REFUSED,
            max_connections=max_connections,
        )

    def answer(self, conversation: Sequence[ChatMessage], *, summary: str | None) -> Completion:
        """Reply to the last messages."""
        messages = [_message(said.role, said.content) for said in conversation]
        return self._complete(prompts.ANSWER, summary, messages)

    def summarise(self, conversation: Sequence[ChatMessage], *, summary: str | None) -> Completion:
        """Sum the conversation up, together with the summary before it."""
        return self._complete(
            prompts.SUMMARY, summary, [_message("user", prompts.transcript(conversation))]
        )

    def close(self) -> None:
        """Close the connections."""
        self._service.close()

    def _complete(
        self, prompt: str, summary: str | None, messages: list[dict[str, str]]
    ) -> Completion:
        before = [_message("system", prompts.known_before(summary))] if summary else []
        answer = self._service.call(
            "POST",
            "/chat/completions",
            json={
                "model": self._model,
                "messages": [_message("system", prompt), *before, *messages],
                "temperature": TEMPERATURE,
                "max_tokens": MAX_TOKENS,
            },
            idempotent=True,
            accept=range(400, 500),
        )
        if answer.status >= 400:
            raise PermanentError(f"llm: {answer.status} {_reason(answer)}", ErrorCode.LLM_REFUSED)
        return self._completion(answer)

    def _completion(self, answer: Answer) -> Completion:
        text = _at(answer.body, "choices", 0, "message", "content")
        if not isinstance(text, str) or not (text := _storable(text).strip()):
            raise ExternalServiceError("llm", "answered without a completion")
        model = _at(answer.body, "model")
        return Completion(
            text=text,
            model=model if isinstance(model, str) else self._model,
            prompt_tokens=_count(_at(answer.body, "usage", "prompt_tokens")),
            completion_tokens=_count(_at(answer.body, "usage", "completion_tokens")),
        )


def _message(role: str, content: str) -> dict[str, str]:
    return {"role": role, "content": content}


def _reason(answer: Answer) -> str:
    return str(_at(answer.body, "error", "message") or "no reason given")[:300]


def _at(body: Any, *path: str | int) -> Any:
    for step in path:
        try:
            body = body[step]
        except (LookupError, TypeError):
            return None
    return body


def _count(value: Any) -> int:
    return value if isinstance(value, int) else 0


def _storable(text: str) -> str:
    # An answer that ends at max_tokens may end within an emoji, which no database takes.
    return text.replace("\0", "").encode(errors="replace").decode()
