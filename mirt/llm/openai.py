"""Ask a model behind an OpenAI-compatible API: OpenAI, OpenRouter, and most others."""

import json
from collections.abc import Collection, Sequence
from typing import Any, Final

from pydantic import SecretStr

from mirt.errors import ErrorCode, ExternalServiceError, PermanentError
from mirt.http import Answer, ExternalService
from mirt.llm import prompts
from mirt.llm.protocol import Action, ChatMessage, Completion, Tool

LONGEST_WAIT: Final = 300.0
"""Seconds to wait for an answer. Tasks have a nearer deadline of their own."""

TEMPERATURE: Final = 0.3
MAX_TOKENS: Final = 2048


class OpenAiAgent:
    """An agent that asks one model. A lost completion has no effect, so it is requested again."""

    def __init__(
        self,
        *,
        api_key: SecretStr,
        base_url: str,
        model: str,
        prompt: str | None = None,
        summary_prompt: str | None = None,
        max_connections: int = 64,
    ) -> None:
        """Take the key, the base URL before ``/chat/completions``, and the name of the model.

        ``prompt`` and ``summary_prompt`` replace those of ``mirt.llm.prompts``.
        """
        self._model = model
        self._prompt = prompt or prompts.ANSWER
        self._summary_prompt = summary_prompt or prompts.SUMMARY
        self._service = ExternalService(
            "llm",
            base_url,
            headers={"Authorization": SecretStr(f"Bearer {api_key.get_secret_value()}")},
            secrets=[api_key],
            timeout=LONGEST_WAIT,
            refusal_code=ErrorCode.LLM_REFUSED,
            max_connections=max_connections,
        )

    def answer(
        self,
        conversation: Sequence[ChatMessage],
        *,
        summary: str | None,
        tools: Sequence[Tool] = (),
    ) -> Completion:
        """Ask the model for a reply to the last messages."""
        messages = [_message(line.role, line.content) for line in conversation]
        return self._complete(self._prompt, summary, messages, tools)

    def summarise(self, conversation: Sequence[ChatMessage], *, summary: str | None) -> Completion:
        """Ask the model for a summary of the conversation, including the summary before it."""
        return self._complete(
            self._summary_prompt, summary, [_message("user", prompts.transcript(conversation))]
        )

    def close(self) -> None:
        """Close the connections. A later request opens new ones."""
        self._service.close()

    def _complete(
        self,
        prompt: str,
        summary: str | None,
        messages: list[dict[str, str]],
        tools: Sequence[Tool] = (),
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
                **({"tools": [_function(tool) for tool in tools]} if tools else {}),
            },
            idempotent=True,
            accept=range(400, 500),
        )
        if answer.status >= 400:
            raise PermanentError(f"llm: {answer.status} {_reason(answer)}", ErrorCode.LLM_REFUSED)
        return self._completion(answer, {tool.name for tool in tools})

    def _completion(self, answer: Answer, tools: Collection[str]) -> Completion:
        content = _at(answer.body, "choices", 0, "message", "content")
        text = _storable(content).strip() if isinstance(content, str) else ""
        actions = _actions(_at(answer.body, "choices", 0, "message", "tool_calls"), tools)
        if not text and not actions:
            raise ExternalServiceError("llm", "answered without a completion")
        model = _at(answer.body, "model")
        return Completion(
            text=text,
            model=model if isinstance(model, str) else self._model,
            prompt_tokens=_count(_at(answer.body, "usage", "prompt_tokens")),
            completion_tokens=_count(_at(answer.body, "usage", "completion_tokens")),
            actions=actions,
        )


def _message(role: str, content: str) -> dict[str, str]:
    return {"role": role, "content": content}


def _function(tool: Tool) -> dict[str, Any]:
    return {
        "type": "function",
        "function": {
            "name": tool.name,
            "description": tool.description,
            "parameters": dict(tool.parameters),
        },
    }


def _actions(calls: Any, tools: Collection[str]) -> tuple[Action, ...]:
    functions = [_at(call, "function") for call in calls] if isinstance(calls, list) else []
    return tuple(
        Action(name, _arguments(_at(function, "arguments")))
        for function in functions
        if (name := _at(function, "name")) in tools
    )


def _arguments(written: Any) -> dict[str, Any]:
    """Return the arguments of a call; none if the model wrote no JSON object."""
    try:
        read = json.loads(_storable(written), parse_float=str) if isinstance(written, str) else {}
    except ValueError:
        return {}
    return read if isinstance(read, dict) else {}


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
    # An answer cut off at max_tokens may end within an emoji, which no database can store.
    return text.replace("\0", "").encode(errors="replace").decode()
