"""An OpenAI-compatible API that answers with an echo, so that a test can tell what was asked."""

from collections.abc import Callable
from typing import Any

from tests.fakes.traffic import Reply, Request

Messages = list[dict[str, Any]]


def echo(messages: Messages) -> str:
    """``echo: `` and the user's messages since the last answer, a line each."""
    unanswered: list[str] = []
    for message in messages:
        if message["role"] == "assistant":
            unanswered.clear()
        elif message["role"] == "user":
            unanswered.append(text_of(message))
    return "echo: " + "\n".join(unanswered)


def text_of(message: dict[str, Any]) -> str:
    """The words of a message, also of one with pictures beside them."""
    content: str | list[dict[str, Any]] = message["content"]
    if isinstance(content, str):
        return content
    return " ".join(part["text"] for part in content if part["type"] == "text")


class LlmApi:
    """Answers with ``reply(messages)``."""

    def __init__(self) -> None:
        self.reply: Callable[[Messages], str] = echo
        self.completions: list[tuple[float, str]] = []
        """When each was asked for, in seconds since the epoch, and its text."""
        self.calls: Callable[[Messages], list[tuple[str, str]]] = lambda _: []
        """The tools that are called: name and arguments, as the model writes them."""
        self.models = ["openai/gpt-4o-mini"]

    def answer(self, request: Request) -> Reply:
        """Answer ``/v1/chat/completions`` and ``/v1/models``."""
        body = request.body if isinstance(request.body, dict) else {}
        if not request.path.endswith(("/chat/completions", "/models")):
            return Reply(404, {"error": {"message": "no such path"}})
        if not request.headers.get("authorization", "").removeprefix("Bearer "):
            return Reply(401, {"error": {"message": "No auth credentials found"}})
        if request.path.endswith("/models"):
            return Reply(200, {"object": "list", "data": [{"id": name} for name in self.models]})
        if not body.get("model") or not body.get("messages"):
            return Reply(400, {"error": {"message": "model and messages are required"}})
        text = self.reply(body["messages"])
        self.completions.append((request.time, text))
        asked = sum(len(text_of(message).split()) for message in body["messages"])
        usage = {"prompt_tokens": asked, "completion_tokens": len(text.split())}
        usage["total_tokens"] = sum(usage.values())
        calls = [
            {
                "id": f"call-{n}",
                "type": "function",
                "function": {"name": name, "arguments": written},
            }
            for n, (name, written) in enumerate(self.calls(body["messages"]))
        ]
        reason = "tool_calls" if calls else "stop"
        message = {"role": "assistant", "content": text or None}
        choice = {"index": 0, "message": message | ({"tool_calls": calls} if calls else {})}
        return Reply(
            200,
            {
                "id": "chatcmpl-fake",
                "object": "chat.completion",
                "model": body["model"],
                "choices": [choice | {"finish_reason": reason}],
                "usage": usage,
            },
        )
