"""Read the calls of tools that a model asks for, in every spelling of them.

OpenAI's API has ``message.tool_calls[].function`` with a name and arguments, which are JSON in a
text. Other servers and models differ in each part: where the calls stand, what a call is named,
and whether the arguments are a text, an object, or JSON within JSON. Some servers do not recognise
a call at all and leave it in the text of the answer, between the marks of the model.
"""

import json
import re
from collections.abc import Collection, Iterator, Mapping
from typing import Any, Final

from mirt.llm.body import at, storable
from mirt.llm.protocol import Action, Number

_ARGUMENTS: Final = ("arguments", "parameters", "input", "args")
_PARALLEL: Final = "parallel"
"""A call that OpenAI's models invent: its ``tool_uses`` are the calls."""


class _UnreadableError(Exception):
    """Arguments that are no JSON object in any spelling."""


def read_calls(message: Any, tools: Collection[str]) -> list[Action]:
    """Return the calls of offered ``tools`` in the fields of a message; others are left out."""
    return [action for call in _fields(message) for action in _actions(call, tools)]


def split_calls(text: str, tools: Collection[str]) -> tuple[str, list[Action]]:
    """Return a text without the calls that are written in it, and these calls.

    Only marks of a model make a text a call, or a text that is nothing but JSON of a call: what a
    customer has written, and the model repeats, stays a text.
    """
    mark = _MARK.search(text) or (_END.search(text) and re.search(r"\{", text))
    # A call that is written as a program cannot be read, and is nothing for a customer.
    program = re.search(rf"{_names(tools).pattern}\s*\(", text)
    if not mark and not program:
        return _bare_calls(text, tools)
    start = min(found.start() for found in (mark, program) if found)
    written = text[start:]
    try:
        actions = _pairs(written, tools) or list(_objects_after_names(written, tools))
    except _UnreadableError:
        actions = []
    if program or not actions:
        names = _names(tools).findall(written)
        actions = [_unreadable(name) for name in dict.fromkeys(names)]
    ends = list(_END.finditer(written))
    after = written[ends[-1].end() :] if ends else ""
    return f"{text[:start].rstrip()}\n{after.lstrip()}".strip(), actions


def _action(tool: str, written: Any) -> Action:
    try:
        return Action(tool, _arguments(written))
    except _UnreadableError:
        return _unreadable(tool)


def _unreadable(tool: str) -> Action:
    return Action(tool, {}, is_readable=False)


def _arguments(written: Any) -> dict[str, Any]:
    """Return the arguments of a call: an object, its JSON, or the JSON of its JSON."""
    for _ in range(4):
        if written is None or written == "":
            return {}
        if isinstance(written, Mapping):
            return {storable(str(name)): _clean(value) for name, value in written.items()}
        if isinstance(written, list) and len(written) == 1:
            written = written[0]
        elif isinstance(written, str):
            written = _decoded(written)
        else:
            break
    raise _UnreadableError


def _fields(message: Any) -> Iterator[Any]:
    calls = at(message, "tool_calls") or at(message, "function_call")
    if isinstance(calls, str):
        calls = _value(calls)
    yield from calls if isinstance(calls, list) else [calls]
    content = at(message, "content")
    for part in content if isinstance(content, list) else ():
        if at(part, "type") in ("tool_use", "tool_call", "function_call"):
            yield part


def _actions(call: Any, tools: Collection[str]) -> Iterator[Action]:
    places = (at(call, "function"), at(call, "custom"), call)
    inside = next((place for place in places if isinstance(place, dict)), None)
    name = next((n for n in (at(inside, "name"), at(call, "function")) if isinstance(n, str)), "")
    written = next((a for key in _ARGUMENTS if (a := at(inside, key)) is not None), None)
    if (tool := _tool(name, tools)) is not None:
        yield _action(tool, written)
    elif name.endswith(_PARALLEL):
        uses = at(_action(name, written).arguments, "tool_uses")
        for use in uses if isinstance(uses, list) else ():
            yield from _actions(
                {"name": at(use, "recipient_name"), "input": at(use, "parameters")}, tools
            )


def _tool(name: str, tools: Collection[str]) -> str | None:
    """Return the offered tool of this name, as in ``functions.create_order:0``."""
    bare = re.split(r"<\||[:\s]", name.strip())[0].rpartition(".")[2]
    return next((tool for tool in tools if _letters(tool) == _letters(bare)), None)


def _letters(name: str) -> str:
    return re.sub(r"[\W_]", "", name).casefold()


_DECODER: Final = json.JSONDecoder(strict=False, parse_float=Number, parse_constant=Number)


def _decoded(written: str) -> Any:
    text = re.sub(r"\A\s*```\w*|```\s*\Z", "", written).strip()
    if not text:
        return None
    try:
        value, end = _DECODER.raw_decode(text)
        rest = text[end:].lstrip()
        if value == {} and rest.startswith("{"):  # some servers begin with an empty object
            value, end = _DECODER.raw_decode(rest)
            rest = rest[end:]
    except (ValueError, RecursionError):
        raise _UnreadableError from None
    if re.search(r'[{\["]', rest):
        raise _UnreadableError
    return value


def exact_json(text: str) -> Any:
    """Return the value of a JSON text, with ``Number`` for each number that has a point.

    Raises:
        ValueError, RecursionError: the text is not JSON.
    """
    return _DECODER.decode(text)


def _clean(value: Any) -> Any:
    match value:
        case Number():
            return value
        case str():
            return storable(value)
        case list():
            return [_clean(one) for one in value]
        case dict():
            return {storable(name): _clean(one) for name, one in value.items()}
    return value


_MARK: Final = re.compile(
    r"<\|?(?:tool_calls?|function_calls?|tool_use)\b[^>]*>"  # Qwen, Hermes, GLM, Granite, Gemma
    r"|<function[= ]|<\w+:(?:tool_call|function_calls)>|<invoke\s"  # Qwen Coder, Llama, MiniMax
    r"|\[TOOL_CALLS?\]|functools\[|<\|python_tag\|>"  # Mistral, Phi, Llama
    r"|<\|tool_calls?_(?:section_)?begin\|>|<[|｜]?tool▁call|<｜DSML｜"  # Kimi, DeepSeek
    r"|<\|START_ACTION\|>|<\|action_start\|>"  # Cohere, InternLM
)
_END: Final = re.compile(
    r"</(?:tool_calls?|tool_use|function_calls?|function|invoke|\w+:(?:tool_call|function_calls))>"
    r"|<\|/tool_call\|>|<tool_call\|>|<\|call\|>|\[/TOOL_CALLS?\]"
    r"|<\|tool_calls_section_end\|>|<[|｜]?tool▁calls▁end[|｜]?>|<\|END_ACTION\|>|<\|action_end\|>"
)
_JSON: Final = re.compile(r"[{\[](?=\s*[\"{}])")
_PAIR: Final = re.compile(
    r"<parameter(?:=|\s+name=)[\"']?(\w+)[^>]*>(.*?)</parameter>"
    r"|<arg_key>\s*(\w+)\s*</arg_key>\s*<arg_value>(.*?)</arg_value>",
    re.DOTALL,
)


def _bare_calls(text: str, tools: Collection[str]) -> tuple[str, list[Action]]:
    bare = re.sub(r"\A\s*```\w*|```\s*\Z", "", text).strip()
    if not bare.startswith(("{", "[")):
        return text, []
    try:
        value = _DECODER.decode(bare)
    except (ValueError, RecursionError):
        return text, []
    calls = value if isinstance(value, list) else [value]
    actions = [action for call in calls for action in _actions(call, tools)]
    return ("", actions) if actions else (text, [])


def _pairs(written: str, tools: Collection[str]) -> list[Action]:
    """Return the call that has an element for each argument."""
    pairs = _PAIR.findall(written)
    name = _names(tools).search(written)
    if not pairs or name is None:
        return []
    arguments = {(key or other): value or rest for key, value, other, rest in pairs}
    return [_action(name[0], {key: _value(one) for key, one in arguments.items()})]


def _value(written: str) -> Any:
    text = written.strip()
    try:
        return _DECODER.decode(text)
    except (ValueError, RecursionError):
        return text


def _objects_after_names(written: str, tools: Collection[str]) -> Iterator[Action]:
    """Yield the calls that are JSON: an object with a name, or an object after its name."""
    names, position = _names(tools), 0
    while (start := _JSON.search(written, position)) is not None:
        try:
            value, end = _DECODER.raw_decode(written, start.start())
        except (ValueError, RecursionError):
            raise _UnreadableError from None
        calls = value if isinstance(value, list) else [value]
        named = [action for call in calls for action in _actions(call, tools)]
        before = names.findall(written, position, start.start())
        if named:
            yield from named
        elif before:
            yield _action(before[-1], value)
        position = end


def _names(tools: Collection[str]) -> re.Pattern[str]:
    return re.compile(rf"\b(?:{'|'.join(map(re.escape, tools))})\b" if tools else r"(?!)")
