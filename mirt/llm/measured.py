"""An agent whose answers are measured: how long they took, and the tokens that were paid."""

import time
from collections.abc import Callable, Sequence

from mirt.errors import PermanentError, RateLimitError
from mirt.llm.protocol import Agent, ChatMessage, Completion, Tool
from mirt.observe import metrics


class MeasuredAgent:
    """Does what ``agent`` does, under the name of the ``model`` that it was told to ask.

    The name that comes with an answer is the provider's word, and may be any.
    """

    def __init__(self, agent: Agent, model: str) -> None:
        self._agent = agent
        self._model = model

    def answer(
        self,
        conversation: Sequence[ChatMessage],
        *,
        summary: str | None,
        tools: Sequence[Tool] = (),
    ) -> Completion:
        """Reply to the last messages."""
        return self._measure(
            "answer", lambda: self._agent.answer(conversation, summary=summary, tools=tools)
        )

    def summarise(self, conversation: Sequence[ChatMessage], *, summary: str | None) -> Completion:
        """Sum the conversation up."""
        return self._measure(
            "summarise", lambda: self._agent.summarise(conversation, summary=summary)
        )

    def _measure(self, call: str, ask: Callable[[], Completion]) -> Completion:
        began, outcome = time.perf_counter(), "failed"
        try:
            completion = ask()
            outcome = "answered"
        except PermanentError:
            outcome = "refused"
            raise
        except RateLimitError:
            outcome = "limited"
            raise
        finally:
            seconds = time.perf_counter() - began
            metrics.AGENT_SECONDS.observe(seconds, call=call, outcome=outcome)
        tokens = {"prompt": completion.prompt_tokens, "completion": completion.completion_tokens}
        for kind, count in tokens.items():
            # What the provider says that it was; a number below nothing would be an error here.
            metrics.LLM_TOKENS.inc(max(0, count), kind=kind, model=self._model)
        return completion
