"""Every known way in which an OpenAI-compatible server answers, and what comes of it.

A row is a shape: what the server answers, one answer for each request, the last one for all that
follow; what the customer reads; how often the LLM is asked; and how the attempt ends if the
customer reads nothing: ``RETRIED`` by the policy of the task, ``WAITS`` as the server asks,
``DEAD`` with an apology. Nothing but the text that the customer reads is stored.

The sources are the documentation of OpenAI, OpenRouter, Azure, Mistral, DeepSeek, Z.ai, Moonshot,
Qwen, Groq, Together, Cohere, watsonx, Gemini, Anthropic, vLLM, SGLang, llama.cpp, TGI, Ollama and
LM Studio, and the issues of their clients.
"""

import json
from collections.abc import Iterator
from dataclasses import dataclass
from decimal import Decimal
from typing import Any, Final

import pytest
from pydantic import SecretStr

from mirt.errors import (
    ExternalServiceError,
    PermanentError,
    RateLimitError,
    WorkerError,
)
from mirt.llm.openai import OpenAiAgent
from mirt.store.engine.database import Database
from mirt.store.tables import history, tasks, turns
from mirt.task_names import TaskName
from mirt.texts import ORDER_NOT_TAKEN, ORDER_TAKEN, UNDERSTOOD
from tests.fakes import FakeServices, Status
from tests.unit.business import rows
from tests.unit.orders.examples import order
from tests.unit.turns.conftest import Shop, open_shop

RETRIED: Final = ExternalServiceError
WAITS: Final = RateLimitError
DEAD: Final = PermanentError
ANSWER: Final = "Так, є 104."
ASKED_WITH: Final = ("max_tokens", "max_completion_tokens", "temperature", "tools")

AGREED: Final = {
    **{name: order()[name] for name in ("customer", "items")},
    "items": [{**order()["items"][0], "price": 499.90}],
}
AS_TEXT: Final = json.dumps(AGREED, ensure_ascii=False)


@dataclass(frozen=True)
class Shape:
    """One way to answer, and what comes of it."""

    name: str
    answers: tuple[Status, ...]
    reads: str | None = ANSWER
    asked: int = 1
    ends: type[WorkerError] | None = None
    says: str = ""
    """A part of the error's text."""
    follows_another: bool = False
    """Whether the customer has been answered before, so that there is a history."""


def said(content: Any, finish_reason: Any = "stop", **beside: Any) -> Status:
    """A choice with this content."""
    message = {"role": "assistant", "content": content}
    return of(message, finish_reason, **beside)


def of(message: Any, finish_reason: Any = "stop", tokens: int = 9, **beside: Any) -> Status:
    choice = {"index": 0, "message": message, "finish_reason": finish_reason, **beside}
    return body(choices=[choice], tokens=tokens)


def body(tokens: int = 9, **fields: Any) -> Status:
    usage = {"prompt_tokens": 10, "completion_tokens": tokens, "total_tokens": 10 + tokens}
    return Status(200, {"id": "gen-1", "model": "m/one", "usage": usage, **fields})


def refused(status: int, error: Any) -> Status:
    return Status(status, {"error": error})


def shape(name: str, *answers: Status, **expected: Any) -> Shape:
    return Shape(name, answers, **expected)


def lost(name: str, *answers: Status, ends: type[WorkerError] = RETRIED, **more: Any) -> Shape:
    """A shape after which the customer reads nothing in this attempt."""
    return Shape(name, answers, reads=None, ends=ends, **more)


WHOLE: Final = said(ANSWER)
CUT: Final = said("Ваше замовлення: сукня, 104, 4", "length")

ENDINGS: Final = (
    *(
        shape(f"ends with {word}", said(ANSWER, word))
        for word in ("stop", "STOP", "eos", "eos_token", "end_turn", "stop_sequence", "COMPLETE")
    ),
    shape("ends with null", said(ANSWER, None)),
    shape("ends with a word that nobody knows", said(ANSWER, "<|eot_id|>")),
    *(
        shape(f"ends with {word}, after a sentence", said(f"{ANSWER} Сукня коштує 4", word))
        for word in ("length", "max_tokens", "MAX_TOKENS", "model_length", "token_limit", "output_limit")
    ),
    shape("ends with length, after a line", said("Є:\n1. Сукня\n2. Шта", "length"), reads="Є:\n1. Сукня"),
    shape("ends with length, before a sentence ends", of({"content": "Ваше замовлення: 4"}, "length", tokens=2048), WHOLE, asked=2),
    shape("ends with length, all of it thinking", of({"content": None, "reasoning": "…"}, "length", tokens=2048), WHOLE, asked=2),
    shape("ends with length within its thinking", of({"content": "<think>Отже. Так"}, "length", tokens=2048), WHOLE, asked=2),
    lost("ends with length twice", of({"content": ""}, "length", tokens=2048), asked=2, ends=DEAD, says="LLM_MAX_TOKENS"),
    lost("ends with length after nothing: no room in its window", of({"content": ""}, "length", tokens=3), ends=DEAD, says="no room"),
    shape("the same, with a history", of({"content": ""}, "length", tokens=3), WHOLE, asked=2, follows_another=True),
    *(
        lost(f"ends with {word}", said("Ваше замовлення на суму 4", word))
        for word in ("error", "ERROR", "network_error", "abort", "cancelled", "timeout", "insufficient_system_resource", "MALFORMED_FUNCTION_CALL", "upstream_failure")
    ),
    lost(
        "ends with an error beside the choice",
        said("Ваше замовлення на суму 4", "error", error={"code": 502, "message": "Provider disconnected"}),
        says="502 Provider disconnected",
    ),
    lost("has an error beside a choice that ended well", said(ANSWER, error={"message": "cut"})),
    lost("has an error of the request beside the choice", said(ANSWER, error={"code": 400})),
    *(
        lost(f"ends with {word}", said("Ваше", word), ends=DEAD, says="filter")
        for word in ("content_filter", "SAFETY", "sensitive", "refusal", "RECITATION", "output_blocked")
    ),
    lost("refuses in its own field", of({"content": None, "refusal": "I can't"}), ends=DEAD),
    shape("ends with content_filter, with a history", said("", "content_filter"), WHOLE, asked=2, follows_another=True),
)  # fmt: skip

CONTENTS: Final = (
    shape("is a text", WHOLE),
    shape("is a list of a text", said([{"type": "text", "text": ANSWER}])),
    shape("is a list of two texts", said([{"type": "text", "text": "Так, "}, {"type": "text", "text": "є 104."}])),
    shape("is thinking and a text", said([{"type": "thinking", "thinking": [{"type": "text", "text": "x"}]}, {"type": "text", "text": ANSWER}])),
    shape("is reasoning and a text", said([{"type": "reasoning", "text": "x"}, {"type": "output_text", "text": ANSWER}])),
    shape("is a reference between texts", said([{"type": "text", "text": "Так, "}, {"type": "reference", "reference_ids": [1]}, {"type": "text", "text": "є 104."}])),
    shape("is a list of strings", said([ANSWER])),
    shape("is a part without a type", said([{"text": ANSWER}])),
    shape("is a text with annotations", said([{"type": "text", "text": {"value": ANSWER, "annotations": []}}])),
    shape("is one part without a list", said({"type": "text", "text": ANSWER})),
    shape("stands where the older API has it", body(choices=[{"text": ANSWER, "finish_reason": "stop"}])),
    shape("has its thinking in a field of its own", of({"content": ANSWER, "reasoning_content": "ціну не казати"})),
    shape("has spaces around it", said(f"\n  {ANSWER} \n")),
    shape("has no usage", Status(200, {"choices": [{"message": {"content": ANSWER}}]})),
    shape("has a usage of nulls", Status(200, {"choices": [{"message": {"content": ANSWER}}], "usage": {"prompt_tokens": None, "completion_tokens": "9"}})),
    shape("has a usage that no column can hold", Status(200, {"choices": [{"message": {"content": ANSWER}}], "usage": {"prompt_tokens": 10**400, "completion_tokens": -1.5}})),
    shape("has a model that is no text", body(choices=[{"message": {"content": ANSWER}}], model=None)),
    *(
        lost(f"is {name}", said(nothing), says="without a completion")
        for name, nothing in {
            "null": None, "an empty text": "", "blank": " \n", "an empty list": [], "a number": 7,
            "only thinking": "<think>x</think>", "a list of thinking": [{"type": "thinking", "thinking": []}],
        }.items()
    ),
    lost("is in a message that is null", of(None), says="without a completion"),
    lost("is in no choice", body(choices=[]), says="without a completion"),
    lost("is in choices of null", body(choices=None), says="without a completion"),
    lost("is only in the field of thinking", of({"content": "", "reasoning_content": "Так."}), says="without a completion"),
    lost("is a list instead of an object", Status(200, []), says="without a completion"),
    lost("is a stream that was not asked for", Status(200, b'data: {"choices": []}\n\ndata: [DONE]\n'), says="without JSON"),
)  # fmt: skip

THINKING: Final = tuple(
    shape(f"thinks as {name}", said(written))
    for name, written in {
        "DeepSeek": f"<think>ціну не казати</think>\n\n{ANSWER}",
        "DeepSeek whose prompt has the opening mark": f"ціну не казати\n</think>\n\n{ANSWER}",
        "Qwen that does not think": f"<think>\n\n</think>\n\n{ANSWER}",
        "thinking": f"<thinking>x</thinking>{ANSWER}",
        "a thought": f"<thought>x</thought>{ANSWER}",
        "reasoning": f"<reasoning lang='uk'>x</reasoning>{ANSWER}",
        "capitals": f"<THINK>x</THINK>{ANSWER}",
        "thinking within thinking": f"<think>a<think>b</think>c</think>{ANSWER}",
        "thinking twice": "<think>a</think>Так, <think>b</think>є 104.",
        "thinking that does not end": f"{ANSWER}<think>а може",
        "marks that are escaped": f"&lt;think&gt;x&lt;/think&gt;{ANSWER}",
        "Hunyuan": f"<think>\nx\n</think>\n<answer>\n{ANSWER}\n</answer>",
        "Seed": f"<seed:think>x</seed:think>{ANSWER}",
        "Mistral": f"[THINK]x[/THINK]{ANSWER}",
        "Kimi": f"◁think▷x◁/think▷{ANSWER}",
        "Cohere": f"<|START_THINKING|>x<|END_THINKING|><|START_RESPONSE|>{ANSWER}<|END_RESPONSE|>",
        "Skywork": f"<|begin_of_thought|>x<|end_of_thought|>{ANSWER}",
        "gpt-oss": f"<|channel|>analysis<|message|>x<|end|><|start|>assistant<|channel|>final<|message|>{ANSWER}<|return|>",
        "gpt-oss without its marks": f"analysisWe need.assistantfinal{ANSWER}",
        "Gemma": f"<|channel>thought\nx<channel|>{ANSWER}<turn|>",
        "Gemma that does not think": f"thought\n{ANSWER}",
        "Granite": f"Here is my thought process: x Here is my response: {ANSWER}",
        "Apriel": f"x [BEGIN FINAL RESPONSE]{ANSWER}[END FINAL RESPONSE]",
        "Open WebUI": f'<details type="reasoning" done="true"><summary>T</summary>x</details>{ANSWER}',
        "a model whose control tokens show": f"{ANSWER}<|im_end|>",
        "Llama whose control tokens show": f"{ANSWER}<|eot_id|></s>",
        "DeepSeek whose control tokens show": f"{ANSWER}<｜end▁of▁sentence｜>",
    }.items()
)  # fmt: skip


def call(arguments: Any, name: str = "create_order", **more: Any) -> Status:
    """A choice whose message has this call as OpenAI documents it."""
    function = {"name": name, "arguments": arguments}
    return calling([{"id": "1", "type": "function", "function": function}], **more)


def calling(calls: Any, finish_reason: str = "tool_calls", **fields: Any) -> Status:
    return of({"content": None, "tool_calls": calls, **fields}, finish_reason)


ORDERED: Final = tuple(
    shape(f"calls {name}", answer, reads=ORDER_TAKEN)
    for name, answer in {
        "as documented": call(AS_TEXT),
        "and ends with stop": call(AS_TEXT, finish_reason="stop"),
        "with an object": call(AGREED),
        "with JSON of JSON": call(json.dumps(AS_TEXT)),
        "with a list of one object": call(f"[{AS_TEXT}]"),
        "within a fence": call(f"```json\n{AS_TEXT}\n```"),
        "with an empty object first": call("{}" + AS_TEXT),
        "with a line break within a text": call(AS_TEXT.replace("Олена Коваль", "Олена\nКоваль")),
        "with something after it": call(AS_TEXT + "<|im_end|>"),
        "with an object within an object": call({"order": AGREED}),
        "with JSON in its fields": call({"customer": json.dumps(AGREED["customer"]), "items": json.dumps(AGREED["items"])}),
        "without the function": calling([{"name": "create_order", "arguments": AS_TEXT}]),
        "without an id or a type": calling([{"function": {"name": "create_order", "arguments": AS_TEXT}}]),
        "with parameters": calling([{"function": {"name": "create_order", "parameters": AGREED}}]),
        "with an input": calling([{"type": "tool_use", "name": "create_order", "input": AGREED}]),
        "with the name as the function": calling([{"function": "create_order", "arguments": AS_TEXT}]),
        "as a custom tool": calling([{"type": "custom", "custom": {"name": "create_order", "input": AS_TEXT}}]),
        "without a list": calling({"function": {"name": "create_order", "arguments": AS_TEXT}}),
        "in a text": calling(json.dumps([{"function": {"name": "create_order", "arguments": AGREED}}])),
        "as the older API has it": of({"content": None, "function_call": {"name": "create_order", "arguments": AS_TEXT}}, "function_call"),
        "in a part of the content": of({"content": [{"type": "tool_use", "name": "create_order", "input": AGREED}]}),
        "functions.create_order": call(AS_TEXT, "functions.create_order"),
        "functions.create_order:0": call(AS_TEXT, "functions.create_order:0"),
        "with a channel in the name": call(AS_TEXT, "create_order<|channel|>commentary"),
        "createOrder": call(AS_TEXT, "createOrder"),
        "with a space in the name": call(AS_TEXT, " create_order "),
        "in parallel": call(json.dumps({"tool_uses": [{"recipient_name": "functions.create_order", "parameters": AGREED}]}), "multi_tool_use.parallel"),
        "in its text as Qwen": said(f'<tool_call>\n{{"name": "create_order", "arguments": {AS_TEXT}}}\n</tool_call>'),
        "in its text without the opening mark": said(f'</think>{{"name": "create_order", "arguments": {AS_TEXT}}}</tool_call>'),
        "in its text as nothing but JSON": said(f'{{"name": "create_order", "arguments": {AS_TEXT}}}'),
        "in its text as Mistral": said(f'[TOOL_CALLS][{{"name": "create_order", "arguments": {AS_TEXT}}}]'),
        "in its text as Mistral of today": said(f"[TOOL_CALLS]create_order[ARGS]{AS_TEXT}"),
        "in its text as Llama": said(f"<function=create_order>{AS_TEXT}</function>"),
        "in its text as Llama with a token": said(f'<|python_tag|>{{"name": "create_order", "parameters": {AS_TEXT}}}'),
        "in its text as DeepSeek": said(f"<｜tool▁calls▁begin｜><｜tool▁call▁begin｜>function<｜tool▁sep｜>create_order\n```json\n{AS_TEXT}\n```<｜tool▁call▁end｜><｜tool▁calls▁end｜>"),
        "in its text as Kimi": said(f"<|tool_calls_section_begin|><|tool_call_begin|>functions.create_order:0<|tool_call_argument_begin|>{AS_TEXT}<|tool_call_end|><|tool_calls_section_end|>"),
        "in its text as GLM": said(f"<tool_call>create_order\n<arg_key>customer</arg_key>\n<arg_value>{json.dumps(AGREED['customer'])}</arg_value>\n<arg_key>items</arg_key>\n<arg_value>{json.dumps(AGREED['items'])}</arg_value>\n</tool_call>"),
        "in its text as Qwen Coder": said(f"<tool_call>\n<function=create_order>\n<parameter=customer>\n{json.dumps(AGREED['customer'])}\n</parameter>\n<parameter=items>\n{json.dumps(AGREED['items'])}\n</parameter>\n</function>\n</tool_call>"),
        "in its text as gpt-oss": said(f"<|channel|>commentary to=functions.create_order <|constrain|>json<|message|>{AS_TEXT}<|call|>"),
    }.items()
)  # fmt: skip

CALLS: Final = (
    shape("calls and says something", call(AS_TEXT, content=ANSWER)),
    shape("calls in a field and in its text", call(AS_TEXT, content=f'{ANSWER}<tool_call>{{"name": "create_order", "arguments": {AS_TEXT}}}</tool_call>')),
    shape("calls to remember, and says nothing", call('{"add_tags": ["vip"]}', "remember_customer"), reads=UNDERSTOOD),
    shape("calls with arguments that break off", call('{"customer": {"full_na'), call(AS_TEXT), reads=ORDER_TAKEN, asked=2),
    shape("calls with arguments that break off twice", call('{"customer": {"full_na'), reads=ORDER_NOT_TAKEN, asked=2),
    shape("calls with a list", call("[1, 2]"), reads=ORDER_NOT_TAKEN, asked=2),
    shape("calls with two orders in one", call(AS_TEXT + AS_TEXT), reads=ORDER_NOT_TAKEN, asked=2),
    shape("calls as a program", said(f"create_order({AS_TEXT})"), reads=ORDER_NOT_TAKEN, asked=2),
    shape("calls in its text, in a way that nobody reads", said('<|tool_call>call:create_order{items:<|"|>x}<tool_call|>'), reads=ORDER_NOT_TAKEN, asked=2),
    shape("remembers in a way that nobody reads", call("{", "remember_customer", content=ANSWER), asked=2),
    shape("calls something else, and says something", call("{}", "delete_everything", content=ANSWER)),
    shape("calls something else in its text", said(f'{ANSWER}<tool_call>{{"name": "delete", "arguments": {{}}}}</tool_call>')),
    lost("calls something else, and says nothing", call("{}", "delete_everything"), says="without a completion"),
    shape("calls, and is cut off", of({"content": None, "tool_calls": [{"function": {"name": "create_order", "arguments": AS_TEXT[:90]}}]}, "length", tokens=2048), call(AS_TEXT), reads=ORDER_TAKEN, asked=2),
    lost("calls, and breaks off", call(AS_TEXT, finish_reason="error")),
)  # fmt: skip

IN_A_200: Final = (
    lost("502 in the body", body(error={"code": 502, "message": "Provider returned error"}), says="502 Provider returned error"),
    lost("a code as text", body(error={"code": "503", "message": "busy"}), says="503 busy"),
    lost("no code", body(error={"message": "something went wrong"}), says="something went wrong"),
    lost("a text", body(error="upstream failed"), says="upstream failed"),
    lost("beside choices", body(error={"code": 502}, choices=[{"message": {"content": ANSWER}}])),
    lost("in a list", Status(200, [{"error": {"code": 503, "message": "overloaded"}}]), says="overloaded"),
    lost("as an object of its own", Status(200, {"object": "error", "message": "engine died", "code": 500}), says="engine died"),
    lost("as a message alone", Status(200, {"message": "no healthy upstream"}), says="no healthy upstream"),
    lost("402 in the body", body(error={"code": 402, "message": "Insufficient credits"}), ends=DEAD, says="402 Insufficient credits"),
    lost("401 in words", body(error={"code": "invalid_api_key", "message": "wrong key"}), ends=DEAD, says="401 wrong key"),
    lost("402 beside the choice", said("", "error", error={"code": 402, "message": "Insufficient credits"}), ends=DEAD, says="402"),
    lost("429 in the body", body(error={"code": 429, "message": "slow down"}), ends=WAITS, says="429 slow down"),
    lost("429 in words", body(error={"type": "rate_limit_error", "message": "slow down"}), ends=WAITS),
    lost("429 beside the choice", said("", "error", error={"code": 429, "message": "slow down"}), ends=WAITS),
    lost("what the provider said", body(error={"code": 502, "message": "Provider returned error", "metadata": {"raw": "engine overheated"}}), says="engine overheated"),
    lost("overloaded, as Anthropic", Status(200, {"type": "error", "error": {"type": "overloaded_error", "message": "Overloaded"}}), says="Overloaded"),
    lost("of MiniMax", body(choices=None, base_resp={"status_code": 1000, "status_msg": "unknown error"}), says="unknown error"),
    shape("with nothing in it", body(error={"code": 0, "message": ""}, choices=[{"message": {"content": ANSWER}}])),
    shape("null", body(error=None, choices=[{"message": {"content": ANSWER}}])),
    shape("too long, with a history", body(error={"code": 400, "message": "maximum context length is 8192 tokens"}), WHOLE, asked=2, follows_another=True),
)  # fmt: skip

BY_STATUS: Final = (
    *(lost(f"{status}", refused(status, {"message": "why"}), ends=DEAD, says=f"{status} why") for status in (400, 401, 402, 403, 404, 405, 422)),
    *(lost(f"{status}", refused(status, {"message": "why"})) for status in (408, 409, 425, 500, 502, 503, 504, 524, 529)),
    lost("429", refused(429, {"message": "slow down"}), ends=WAITS),
    lost("400 with a page", Status(400, b"<html>Bad Request</html>", {"Content-Type": "text/html"}), ends=DEAD),
    lost("422 of a field that is missing", Status(422, {"detail": [{"loc": ["body", "messages"], "msg": "Field required"}]}), ends=DEAD, says="Field required"),
    lost("400 of what the model wrote, as Groq", refused(400, {"message": "Failed to call a function", "code": "tool_use_failed"}), says="Failed to call"),
    lost("404 without a model that uses tools, as OpenRouter", refused(404, {"code": 404, "message": "No endpoints found that support tool use."}), ends=DEAD, says="LLM_TOOLS=false"),
    lost("400 without tools, as Ollama", refused(400, {"message": "registry.ollama.ai/library/x does not support tools"}), ends=DEAD, says="LLM_TOOLS=false"),
    lost("400 without tools, as vLLM", refused(400, {"message": '"auto" tool choice requires --enable-auto-tool-choice and --tool-call-parser to be set'}), ends=DEAD, says="LLM_TOOLS=false"),
)  # fmt: skip

TOO_LONG: Final = tuple(
    one
    for name, answer in {
        "OpenAI": refused(400, {"message": "This model's maximum context length is 8192 tokens. However, your messages resulted in 9000 tokens.", "type": "invalid_request_error", "param": "messages", "code": "context_length_exceeded"}),
        "OpenRouter": refused(400, {"code": 400, "message": "This endpoint's maximum context length is 8192 tokens. However, you requested about 9000 tokens"}),
        "a provider of OpenRouter": refused(400, {"code": 400, "message": "Provider returned error", "metadata": {"raw": '{"error":{"message":"prompt is too long: 9000 tokens > 8192 maximum"}}', "provider_name": "x"}}),
        "OpenRouter's own word": refused(400, {"code": 400, "message": "Bad Request", "metadata": {"error_type": "context_length_exceeded"}}),
        "Anthropic": refused(400, {"type": "invalid_request_error", "message": "prompt is too long: 210000 tokens > 200000 maximum"}),
        "Bedrock": refused(400, {"message": "Input is too long for requested model."}),
        "Gemini": Status(400, [{"error": {"code": 400, "message": "The input token count (9) exceeds the maximum number of tokens allowed (8).", "status": "INVALID_ARGUMENT"}}]),
        "Mistral": Status(400, {"object": "error", "message": "Prompt contains 40000 tokens and 0 draft tokens, too large for model with 32768 maximum context length", "type": "invalid_request_error"}),
        "vLLM": Status(400, {"object": "error", "message": "'max_tokens' or 'max_completion_tokens' is too large: 2048. This model's maximum context length is 4096 tokens and your request has 3000 input tokens", "code": 400, "param": "max_tokens"}),
        "llama.cpp": refused(400, {"code": 400, "type": "exceed_context_size_error", "message": "request (9412 tokens) exceeds the available context size (8192 tokens)"}),
        "TGI": Status(422, {"error": "Input validation error: `inputs` tokens + `max_new_tokens` must be <= 4096", "error_type": "validation"}),
        "Groq": refused(413, {"message": "Request too large for model `x` on tokens per minute", "code": "rate_limit_exceeded"}),
        "xAI": Status(400, {"code": "invalid-argument", "error": "This model's maximum prompt length is 131072 but the request contains 537812 tokens."}),
        "Qwen": refused(400, {"code": "invalid_parameter_error", "message": "Range of input length should be [1, 30720]"}),
        "Z.ai": refused(400, {"code": "1261", "message": "Prompt exceeds max length"}),
        "Moonshot": refused(400, {"message": "Your request exceeded model token limit: 8192", "type": "invalid_request_error"}),
        "Cohere": Status(400, {"message": "too many tokens: total number of tokens in the prompt cannot exceed 4081"}),
        "Cerebras": refused(400, {"message": "Please reduce the length of the messages. Current length is 9000 while limit is 8192", "code": "context_length_exceeded"}),
        "LM Studio": refused(400, "Trying to keep the first 5000 tokens when context the overflows. However, the model is loaded with context length of only 4096 tokens"),
        "a gateway": Status(413, b"<html>Payload Too Large</html>", {"Content-Type": "text/html"}),
    }.items()
    for one in (
        shape(f"{name}, with a history", answer, WHOLE, asked=2, follows_another=True),
        lost(f"{name}, of one message", answer, ends=DEAD),
        lost(f"{name}, also with half of the history", answer, ends=DEAD, asked=2, follows_another=True),
    )
)  # fmt: skip

FLAGGED: Final = tuple(
    one
    for name, answer in {
        "OpenRouter": refused(403, {"code": 403, "message": "openai/gpt-4o requires moderation on OpenAI. Your input was flagged", "metadata": {"reasons": ["violence"], "flagged_input": "…"}}),
        "Azure": refused(400, {"message": "The response was filtered due to the prompt triggering Azure OpenAI's content management policy.", "param": "prompt", "code": "content_filter", "status": 400, "innererror": {"code": "ResponsibleAIPolicyViolation"}}),
        "OpenAI": refused(400, {"message": "Invalid prompt: your prompt was flagged as potentially violating our usage policy.", "code": "invalid_prompt"}),
        "Qwen": refused(400, {"code": "data_inspection_failed", "message": "Input data may contain inappropriate content."}),
        "Z.ai": refused(400, {"code": "1301", "message": "系统检测到输入或生成内容可能包含不安全或敏感内容"}),
    }.items()
    for one in (
        shape(f"{name}, with a history", answer, WHOLE, asked=2, follows_another=True),
        lost(f"{name}, of one message", answer, ends=DEAD),
    )
)  # fmt: skip

UNWANTED: Final = {
    "max_tokens, as OpenAI": (
        refused(400, {"message": "Unsupported parameter: 'max_tokens' is not supported with this model. Use 'max_completion_tokens' instead.", "type": "invalid_request_error", "param": "max_tokens", "code": "unsupported_parameter"}),
        {"max_completion_tokens", "temperature", "tools"},
    ),
    "a length, as OpenAI": (
        refused(400, {"message": "max_tokens is too large: 2048. This model supports at most 1024 completion tokens", "code": "invalid_value"}),
        {"temperature", "tools"},
    ),
    "a temperature, as OpenAI": (
        refused(400, {"message": "Unsupported value: 'temperature' does not support 0.3 with this model. Only the default (1) value is supported.", "param": "temperature", "code": "unsupported_value"}),
        {"max_tokens", "tools"},
    ),
    "a temperature, as a provider of OpenRouter": (
        refused(400, {"code": 400, "message": "Provider returned error", "metadata": {"raw": "`temperature` is deprecated for this model."}}),
        {"max_tokens", "tools"},
    ),
    "a field, as FastAPI": (
        Status(422, {"detail": [{"type": "extra_forbidden", "loc": ["body", "temperature"], "msg": "Extra inputs are not permitted"}]}),
        {"max_tokens", "tools"},
    ),
}  # fmt: skip


@pytest.fixture
def agent(services: FakeServices) -> Iterator[OpenAiAgent]:
    made = OpenAiAgent(api_key=SecretStr("sk-test"), base_url=services.llm_url, model="m/one")
    yield made
    made.close()


@pytest.fixture
def shop(database: Database, agent: OpenAiAgent) -> Iterator[Shop]:
    """A shop whose agent is the LLM."""
    with open_shop(database, llm=agent) as opened:
        yield opened


def answers(services: FakeServices, *given: Status) -> None:
    """Answer with each of these once, and with the last one from then on."""
    for number, one in enumerate(given, 1):
        services.misbehave("llm", one, times=None if number == len(given) else 1)


def stored(shop: Shop) -> list[str]:
    return [row.content for row in rows(shop.database, history)]


def ordered(shop: Shop) -> list[dict[str, Any]]:
    """The orders that wait for the CRM."""
    found = rows(shop.database, tasks)
    return [one.kwargs["order_data"] for one in found if one.actor == TaskName.CREATE_CRM_ORDER]


def check(one: Shape, shop: Shop, services: FakeServices) -> None:
    """Have the customer write, and compare what comes of it."""
    if one.follows_another:
        shop.receive("t0", text="Добрий день")
        shop.answer("t0")
    before, was_shown, asked = stored(shop), len(shop.shown), len(services.requests("llm"))
    answers(services, *one.answers)
    shop.receive("t1", text="Є сукня?")
    if one.ends is None:
        shop.answer("t1")
        assert [text for _, text in shop.shown[was_shown:]] == [one.reads]
        assert stored(shop) == [*before, "Є сукня?", one.reads]
    else:
        with pytest.raises(one.ends) as refusal:
            shop.answer("t1")
        assert one.says in str(refusal.value)
        assert len(shop.shown) == was_shown
        assert stored(shop) == before
        assert shop.state("t1") == "waiting"
    assert len(services.requests("llm")) - asked == one.asked


@pytest.mark.parametrize("one", [*ENDINGS, *CONTENTS, *THINKING], ids=lambda one: one.name)
def test_a_completion_is_used_as_far_as_it_is_one(
    one: Shape, shop: Shop, services: FakeServices
) -> None:
    check(one, shop, services)
    assert ordered(shop) == []


@pytest.mark.parametrize("one", ORDERED, ids=lambda one: one.name)
def test_an_order_in_any_spelling_of_a_call_is_taken_exactly(
    one: Shape, shop: Shop, services: FakeServices
) -> None:
    check(one, shop, services)
    (taken,) = ordered(shop)
    (item,) = taken["items"]
    assert (Decimal(item["price"]), item["quantity"]) == (Decimal("499.90"), 2)
    assert taken["customer"]["phone"] == "+380501234567"


@pytest.mark.parametrize("one", CALLS, ids=lambda one: one.name)
def test_a_call_that_cannot_be_read_is_no_order(
    one: Shape, shop: Shop, services: FakeServices
) -> None:
    check(one, shop, services)
    assert len(ordered(shop)) <= 1
    if one.reads not in {ORDER_TAKEN, ANSWER}:
        assert ordered(shop) == []


@pytest.mark.parametrize("one", [*IN_A_200, *BY_STATUS], ids=lambda one: one.name)
def test_an_error_is_judged_by_its_code_and_tells_its_reason(
    one: Shape, shop: Shop, services: FakeServices
) -> None:
    check(one, shop, services)


@pytest.mark.parametrize("one", [*TOO_LONG, *FLAGGED], ids=lambda one: one.name)
def test_a_refusal_of_the_history_does_not_end_the_conversation(
    one: Shape, shop: Shop, services: FakeServices
) -> None:
    check(one, shop, services)


@pytest.mark.parametrize(("answer", "kept"), UNWANTED.values(), ids=UNWANTED)
def test_a_parameter_that_is_refused_is_left_out_from_then_on(
    answer: Status, kept: set[str], shop: Shop, services: FakeServices
) -> None:
    check(shape("", answer, WHOLE, asked=2), shop, services)
    shop.receive("t2")
    shop.answer("t2")
    *_, again, next_turn = [request.body for request in services.requests("llm")]
    assert {name for name in ASKED_WITH if name in again} == kept
    assert {name for name in ASKED_WITH if name in next_turn} == kept


def test_an_answer_that_was_paid_for_and_not_used_is_counted_with_the_reply(
    shop: Shop, services: FakeServices
) -> None:
    answers(services, of({"content": ""}, "length", tokens=2048), WHOLE)
    shop.receive("t1")
    shop.answer("t1")
    (turn,) = rows(shop.database, turns)
    assert (turn.prompt_tokens, turn.completion_tokens) == (20, 2057)
