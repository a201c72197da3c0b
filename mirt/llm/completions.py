"""Read a completion: decide what of an answer may be used, by how it ended.

A completion that ended for another reason than being complete is not used, with one exception: a
text that was cut off ends at its last whole sentence.
"""

import re
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from enum import StrEnum
from math import isfinite
from typing import Any, Final

import structlog

from mirt.errors import ExternalServiceError, PromptRefusedError
from mirt.http import Answer
from mirt.llm.body import at, storable
from mirt.llm.calls import exact_json, read_calls, split_calls
from mirt.llm.content import whole_sentences, without_control, without_thinking
from mirt.llm.failures import Failure, error_in
from mirt.llm.protocol import Action, Completion
from mirt.observe import metrics

log = structlog.get_logger(__name__)

_OF_THE_ACCOUNT: Final = frozenset({401, 402, 403, 429})
_LARGEST_COUNT: Final = 500_000_000
"""Tokens; what a broken server counts must still fit the columns, and their sum."""
_LONGEST_NAME: Final = 200
_LONGEST_REASON: Final = 40


class Ending(StrEnum):
    """How a completion ended; ``unreadable``: with a call whose arguments cannot be read."""

    COMPLETE = "complete"
    CUT = "cut"
    WITHHELD = "withheld"
    BROKEN_OFF = "broken_off"
    EMPTY = "empty"
    UNREADABLE = "unreadable"


_WORDS: Final[Mapping[Ending, str]] = {
    Ending.COMPLETE: "stop tool_calls tool_call tool_use function_call eos eos_token stop_sequence"
    " end_turn complete completed finished",
    Ending.CUT: "length max_tokens max_output_tokens model_length token_limit"
    " model_context_window_exceeded context_length_exceeded",
    Ending.WITHHELD: "content_filter content_filtered sensitive safety refusal recitation"
    " blocklist prohibited_content spii guardrail_intervened error_toxic",
    Ending.BROKEN_OFF: "error error_limit network_error insufficient_system_resource abort aborted"
    " cancelled timeout time_limit malformed_function_call repetition",
}
"""The documented values of ``finish_reason``, of OpenAI, OpenRouter, Mistral, DeepSeek, Z.ai,
Together, Gemini, Anthropic, Cohere, watsonx, vLLM and TGI."""
_SOUNDS_LIKE: Final = (
    (Ending.BROKEN_OFF, re.compile("error|fail|abort|cancel|time_?out|interrupt")),
    (Ending.WITHHELD, re.compile("filter|safety|policy|refus|block|moderat")),
    (Ending.CUT, re.compile("length|max|limit")),
)
"""The ending that an unknown word is likely to mean. Any other word is a name for the end."""
_ENDINGS: Final = {word: ending for ending, words in _WORDS.items() for word in words.split()}


@dataclass(frozen=True, slots=True)
class Usage:
    """The tokens that an answer has cost."""

    prompt: int = 0
    completion: int = 0

    @classmethod
    def read(cls, body: Any) -> "Usage":
        """Read the usage of an answer; 0 where the server does not tell it."""
        usage = at(body, "usage")
        return cls(_count(at(usage, "prompt_tokens")), _count(at(usage, "completion_tokens")))

    def __add__(self, other: "Usage") -> "Usage":
        """Return the cost of both."""
        return Usage(self.prompt + other.prompt, self.completion + other.completion)


class CutOffError(Exception):
    """A completion that was cut off before anything of it could be used."""

    def __init__(self, usage: Usage) -> None:
        super().__init__("the answer was cut off")
        self.usage = usage


def read_completion(
    answer: Answer, tools: Collection[str], *, model: str, must_be_whole: bool = False
) -> Completion:
    """Return the completion of a 200. Its actions are calls of ``tools``.

    ``must_be_whole`` refuses a text that was cut off. ``model`` is the name of a model that the
    answer does not name.

    Raises:
        CutOffError: nothing of the completion can be used; more room for it may help.
        PromptRefusedError: a filter has withheld the answer, or the model has refused to give it.
        ExternalServiceError: the answer broke off, or is empty.
        RateLimitError, PermanentError: the body holds an error; see ``Failure.error``.
    """
    body = answer.body
    choice = at(body, "choices", 0)
    _raise_error(answer, choice)
    ending = _ending(at(choice, "finish_reason"))
    text, actions = _said(answer, choice, tools)
    if ending is Ending.COMPLETE and not text and not actions:
        ending = Ending.WITHHELD if at(choice, "message", "refusal") else Ending.EMPTY
    is_readable = all(action.is_readable for action in actions)
    _count_ending(ending if is_readable else Ending.UNREADABLE)
    usage = Usage.read(body)
    if ending is Ending.CUT:
        text = "" if actions or must_be_whole else whole_sentences(text)
        log.warning("llm_answer_cut", usable=bool(text), tokens=usage.completion)
        if not text:
            raise CutOffError(usage)
    elif ending is not Ending.COMPLETE:
        raise _unusable(ending, at(choice, "finish_reason"))
    named = at(body, "model")
    return Completion(
        text=text,
        model=storable(named)[:_LONGEST_NAME] if isinstance(named, str) else model,
        prompt_tokens=usage.prompt,
        completion_tokens=usage.completion,
        actions=tuple(actions),
    )


def service_failure(answer: Answer) -> str | None:
    """Return the words of a 200 whose body says that the service has failed; None of any other."""
    error = error_in(answer.body)
    failure = Failure.read(error, hide=answer.without_quotes) if error else None
    if failure is None or not failure.is_of_the_service:
        return None
    _count_ending(Ending.BROKEN_OFF)
    return str(failure)


def _raise_error(answer: Answer, choice: Any) -> None:
    if error := error_in(answer.body):
        _count_ending(Ending.BROKEN_OFF)
        raise Failure.read(error, hide=answer.without_quotes).error(answer.headers)
    if error := at(choice, "error") or at(choice, "message", "error"):
        _count_ending(Ending.BROKEN_OFF)
        failure = Failure.read(error, hide=answer.without_quotes)
        if failure.status in _OF_THE_ACCOUNT:
            raise failure.error(answer.headers)
        # The model had begun, so the request itself is right.
        raise ExternalServiceError("llm", f"its answer broke off: {failure}")


def _said(answer: Answer, choice: Any, tools: Collection[str]) -> tuple[str, list[Action]]:
    message = at(choice, "message")
    content = at(message, "content")
    if content is None:
        content = at(choice, "text")  # the older API for completions, which some servers keep to
    has_calls = at(message, "tool_calls") or at(message, "function_call")
    if has_calls or isinstance(content, list):
        message = at(exact_json(answer.text), "choices", 0, "message")
    calls = read_calls(message, tools)
    text, written = split_calls(without_thinking(content), tools)
    # Some servers give a call in its field and leave it in the text as well.
    return without_control(text), calls or written


def _ending(reason: Any) -> Ending:
    word = reason.strip().lower() if isinstance(reason, str) else ""
    if not word or word in _ENDINGS:
        return _ENDINGS.get(word, Ending.COMPLETE)
    likely = (ending for ending, pattern in _SOUNDS_LIKE if pattern.search(word))
    ending = next(likely, Ending.COMPLETE)
    log.warning("llm_ending_unknown", finish_reason=word[:_LONGEST_REASON], taken_for=ending.value)
    return ending


def _unusable(ending: Ending, reason: Any) -> Exception:
    reason = str(reason)[:_LONGEST_REASON]
    log.warning("llm_answer_unusable", why=ending.value, finish_reason=reason)
    match ending:
        case Ending.WITHHELD:
            return PromptRefusedError("llm: the answer was withheld by a content filter", keep=0.0)
        case Ending.BROKEN_OFF:
            return ExternalServiceError("llm", f"its answer broke off ({reason})")
    return ExternalServiceError("llm", "answered without a completion")


def _count_ending(ending: Ending) -> None:
    metrics.LLM_COMPLETIONS.inc(ending=ending.value)


def _count(value: Any) -> int:
    if isinstance(value, float):
        value = int(value) if isfinite(value) else 0
    is_count = isinstance(value, int) and not isinstance(value, bool)
    return min(max(0, value), _LARGEST_COUNT) if is_count else 0
