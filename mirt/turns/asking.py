"""Ask the agent with as much of the history as it takes.

What is stored goes out with every later turn of its conversation. So a refusal that depends on it
would repeat for every later message of that customer.
"""

from collections.abc import Sequence
from dataclasses import replace
from typing import Final

import structlog

from mirt.errors import PermanentError, PromptRefusedError
from mirt.llm import Agent, ChatMessage, Completion, Tool
from mirt.store.shop.turns import Recalled, Said
from mirt.summaries import LONGEST_SUMMARY
from mirt.turns.notes import notes_of

log = structlog.get_logger(__name__)

HISTORY_CHARACTERS: Final = 24_000
"""Characters of earlier messages that the agent gets with a turn, about 12,000 tokens."""


def ask(
    agent: Agent, known: Recalled, messages: Sequence[ChatMessage], *, tools: Sequence[Tool]
) -> Completion:
    """Return the agent's reply to the customer's ``messages``.

    If the agent refuses pictures, it is asked without them. If it refuses what it was sent
    otherwise, it is asked once more: with half of the history if that
    was too long, without history and summary if a filter has flagged it.

    Raises: as ``Agent.answer``.
    """
    lines = newest(known.lines, HISTORY_CHARACTERS)
    summary = known.summary[:LONGEST_SUMMARY] if known.summary else None
    notes = notes_of(known.lines)

    def answer(lines: Sequence[Said], summary: str | None) -> Completion:
        said = [ChatMessage(role=line.role, content=line.content) for line in lines]
        return agent.answer([*said, *messages], summary=summary, tools=tools, notes=notes)

    try:
        return answer(lines, summary)
    except PermanentError as refused:
        if any(message.pictures for message in messages):
            log.warning("llm_takes_no_pictures", why=refused.message)
            blind = [replace(message, pictures=()) for message in messages]
            return ask(agent, known, blind, tools=tools)
        if not isinstance(refused, PromptRefusedError):
            raise
        if not lines and not summary:
            raise
        characters = sum(len(line.content) for line in lines)
        fewer = newest(lines, int(characters * refused.keep))
        log.warning("llm_asked_with_less", lines=len(fewer), why=refused.message)
        return answer(fewer, summary if fewer else None)


def newest(lines: Sequence[Said], characters: int) -> Sequence[Said]:
    """Return the newest lines that have at most so many characters together, the oldest first."""
    for count, line in enumerate(reversed(lines)):
        characters -= len(line.content)
        if characters < 0:
            return lines[len(lines) - count :]
    return lines
