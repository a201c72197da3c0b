"""Extract the text for the customer from the content of a completion.

Servers write content as a text or as a list of parts. Models write their thinking and their control
tokens into it wherever the server does not take them out. The customer gets neither.
"""

import re
from typing import Any, Final

from mirt.llm.body import at, storable
from mirt.observe.printable import without_controls

_TEXT_PARTS: Final = ("text", "output_text", None)
"""Types of parts that are for the customer. Others are thinking, references, images, calls."""

CALL_MARK: Final = "<tool_call>"
"""Mark that most models write before a call of a tool."""

_NAMES: Final = (
    r"(?:seed:|mm:|antml:|longcat_)?"
    r"(?:think|thinking|thoughts?|reasoning|reflection|scratchpad|analysis|inner_monologue)"
)
_OPEN: Final = (
    rf"(?:<|&lt;)\s*{_NAMES}(?:\s[^<>]*?)?(?<!/)(?:>|&gt;)",  # DeepSeek, Qwen, GLM, and most others
    r"\[THINK\]",  # Mistral
    r"◁think▷",  # Kimi
    r"<\|START_THINKING\|>",  # Cohere
    r"<\|begin_of_thought\|>",  # Skywork, OpenThinker
    r"<\|inner_prefix\|>",  # Apertus
    r"<\|channel>",  # Gemma
)
_CLOSE: Final = (
    rf"(?:<|&lt;)\s*/\s*{_NAMES}\s*(?:>|&gt;)",
    r"\[/THINK\]",
    r"◁/think▷",
    r"<\|END_THINKING\|>",
    r"<\|end_of_thought\|>",
    r"<\|inner_suffix\|>",
    r"<channel\|>",
    r"\[BEGIN FINAL RESPONSE\]",  # Apriel, which marks only the beginning of its answer
)
_MARK: Final = re.compile(f"(?P<open>{'|'.join(_OPEN)})|(?P<close>{'|'.join(_CLOSE)})", re.I)

_PLAIN: Final = re.compile(
    r"<details\s[^<>]*reasoning[^<>]*>.*?(?:</details>|\Z)"  # Open WebUI
    r"|\A\s*Here(?:'s| is) my thought process:.*?(?:Here(?:'s| is) my response:|\Z)"  # Granite
    r"|\A\s*(?:analysis|commentary).*?assistantfinal",  # gpt-oss without its control tokens
    re.DOTALL | re.IGNORECASE,
)
"""Thinking between marks that have another meaning elsewhere."""

_HARMONY: Final = re.compile(
    r"<\|channel\|>\s*(\w+)(.*?)<\|message\|>(.*?)(?=<\|(?:end|return|start|channel|call)\|>|\Z)",
    re.DOTALL,
)
"""A message of gpt-oss: its channel, its recipient, and its text."""

_CONTROL: Final = re.compile(
    r"<[|｜][^<>\n]{1,40}[|｜]>|<[|｜]\w{1,40}>|<\w{1,40}[|｜]>"
    r"|</?s>|<eos>|<(?:start|end)_of_turn>|\[/?INST\]|\[END FINAL RESPONSE\]"
    rf"|</?(?:answer|response|output|final_answer)>|<\s*{_NAMES}\s*/>",
    re.IGNORECASE,
)
"""Control tokens, and the tags around an answer."""


def visible_text(content: Any) -> str:
    """Return the text for the customer; empty if the content has none.

    >>> visible_text("<think>Ціну не казати.</think>Уточню в колег.")
    'Уточню в колег.'
    >>> visible_text([{"type": "thinking", "thinking": []}, {"type": "text", "text": "Так."}])
    'Так.'
    """
    return without_control(without_thinking(content))


def without_thinking(content: Any) -> str:
    """Return the text of a content without thinking; control tokens and written calls stay."""
    parts = content if isinstance(content, list) else [content]
    return _without_thinking(storable("".join(map(_part, parts))))


def without_control(text: str) -> str:
    """Return a text without control tokens and tags around the answer, and control characters."""
    return without_controls(_CONTROL.sub("", text)).strip()


def _part(part: Any) -> str:
    if isinstance(part, str):
        return part
    if at(part, "type") not in _TEXT_PARTS:
        return ""
    text = at(part, "text")
    text = at(text, "value") if isinstance(text, dict) else text
    return text if isinstance(text, str) else ""


def _without_thinking(text: str) -> str:
    if messages := _HARMONY.findall(text):
        calls = (f"{CALL_MARK}{to}{said}" for _, to, said in messages if "to=" in to)
        return "".join([*(said for channel, _, said in messages if channel == "final"), *calls])
    text = _PLAIN.sub("", text)
    kept, end, is_thinking = "", 0, False
    for mark in _MARK.finditer(text):
        if mark["open"]:
            kept += "" if is_thinking else text[end : mark.start()]
            is_thinking = True
        else:
            # Many servers leave out the opening mark, which is a part of their prompt.
            kept = kept if is_thinking else ""
            is_thinking = False
        end = mark.end()
    # Gemma writes the name of its channel even where it does not think.
    return (kept if is_thinking else kept + text[end:]).removeprefix("thought\n")


_SENTENCE_END: Final = re.compile(
    r"(?<!\d)[.!?…]+[)»”\"']*(?=\s|\Z)"
    r"|(?<=\d)[!?…]+(?=\s|\Z)|(?<=\d\d)\.(?=\s+[^\W\d_])"  # "104. Ще" ends, "1. Сукня" does not
    r"|(?<!:)\s*\n"
)


def whole_sentences(text: str) -> str:
    """Return a text that was cut off up to its last whole sentence or line; empty if it has none.

    >>> whole_sentences("Так, є. Сукня 104, 4")
    'Так, є.'
    """
    ends = [match.end() for match in _SENTENCE_END.finditer(text)]
    return text[: ends[-1]].strip() if ends else ""
