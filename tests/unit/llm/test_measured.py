"""The cost of an answer of the LLM is counted by the prices that the shop has named."""

from decimal import Decimal

import pytest

from mirt.llm.measured import MeasuredAgent, Price
from mirt.llm.protocol import ChatMessage, Completion
from mirt.observe import metrics

GPT: Price = (Decimal("0.15"), Decimal("0.60"))


class Answering:
    """An agent with a ready completion."""

    def __init__(self, completion: Completion) -> None:
        self.completion = completion

    def answer(self, *_: object, **__: object) -> Completion:
        return self.completion

    summarise = answer


def cost(model: str) -> float:
    """Return the US dollars counted for a model."""
    samples = [sample for family in metrics.LLM_COST.collect() for sample in family.samples]
    return sum(one.value for one in samples if one.labels.get("model") == model)


def counted_cost(prices: dict[str, Price], *, named: str = "gpt", prompt: int = 2_000_000) -> float:
    """Return what is counted for one answer of the configured model ``gpt``."""
    completion = Completion("Так.", named, prompt_tokens=prompt, completion_tokens=500_000)
    before = cost("gpt")
    agent = MeasuredAgent(Answering(completion), "gpt", prices)
    agent.answer([ChatMessage("user", "Є?")], summary=None)
    return cost("gpt") - before


def test_the_cost_of_an_answer_is_its_tokens_by_their_prices() -> None:
    assert counted_cost({"gpt": GPT}) == pytest.approx(0.60)


def test_the_price_of_the_model_that_has_answered_comes_first() -> None:
    dear = Decimal(10), Decimal(10)
    assert counted_cost({"gpt": GPT, "gpt-2026": dear}, named="gpt-2026") == pytest.approx(25)


def test_a_model_without_a_price_costs_nothing_that_is_counted() -> None:
    assert counted_cost({"other": GPT}) == 0


def test_a_negative_count_of_a_provider_costs_nothing() -> None:
    assert counted_cost({"gpt": GPT}, prompt=-5) == pytest.approx(0.30)
