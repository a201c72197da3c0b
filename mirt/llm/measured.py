"""Measure an agent: the seconds of its answers and the tokens that they cost."""

from collections.abc import Callable, Mapping, Sequence
from decimal import Decimal
from typing import Final

from mirt.http.measured import measure
from mirt.llm.protocol import Agent, ChatMessage, Completion, Tool
from mirt.observe import metrics, traces

Price = tuple[Decimal, Decimal]
"""US dollars of a million prompt tokens, and of a million completion tokens."""
A_MILLION: Final = 1_000_000


class MeasuredAgent:
    """An agent that forwards to ``agent`` and counts under the configured ``model``.

    The model name in an answer is the provider's and unbounded, so it must not become a label.
    """

    def __init__(self, agent: Agent, model: str, prices: Mapping[str, Price] | None = None) -> None:
        """``prices`` are those of ``Settings.prices``, by the name in the answer or ``model``."""
        self._agent = agent
        self._model = model
        self._prices = prices or {}

    def answer(
        self,
        conversation: Sequence[ChatMessage],
        *,
        summary: str | None,
        tools: Sequence[Tool] = (),
        notes: Sequence[str] = (),
    ) -> Completion:
        """Ask the agent for an answer, and measure it."""
        return self._measure(
            "answer",
            lambda: self._agent.answer(conversation, summary=summary, tools=tools, notes=notes),
        )

    def summarise(self, conversation: Sequence[ChatMessage], *, summary: str | None) -> Completion:
        """Ask the agent for a summary, and measure it."""
        return self._measure(
            "summarise", lambda: self._agent.summarise(conversation, summary=summary)
        )

    def _measure(self, call: str, ask: Callable[[], Completion]) -> Completion:
        traces.current().set_attributes(
            {
                "gen_ai.operation.name": "chat",
                "gen_ai.provider.name": "openai",
                "gen_ai.request.model": self._model,
            }
        )
        completion = measure(metrics.AGENT_SECONDS, call, ask)
        tokens = {"prompt": completion.prompt_tokens, "completion": completion.completion_tokens}
        for kind, count in tokens.items():
            # The provider counts the tokens. A counter would raise on a negative number.
            metrics.LLM_TOKENS.inc(max(0, count), kind=kind, model=self._model)
        if price := self._prices.get(completion.model) or self._prices.get(self._model):
            amounts = zip(price, tokens.values(), strict=True)
            cost = sum(each * max(0, count) for each, count in amounts) / A_MILLION
            metrics.LLM_COST.inc(float(cost), model=self._model)
        return completion
