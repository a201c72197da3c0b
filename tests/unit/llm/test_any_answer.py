"""Whatever JSON a server answers, it is a completion or one of our errors, and never a bug."""

import json
from typing import Any, Final

from hypothesis import given
from hypothesis import strategies as st

from mirt.errors import WorkerError
from mirt.http import Answer
from mirt.llm.completions import CutOffError, read_completion
from mirt.llm.failures import Failure
from mirt.store.shop.mailbox import KeptMail
from mirt.turns.actions import plan
from tests.unit.turns.test_actions import MAIL

WORDS: Final = (
    *("choices", "message", "content", "text", "type", "tool_calls", "function", "name"),
    *("arguments", "parameters", "input", "error", "code", "metadata", "raw", "detail", "loc"),
    *("usage", "prompt_tokens", "finish_reason", "length", "stop", "create_order", "customer"),
    *("items", "price", "quantity", "remember_customer", "fields", "add_tags", "refusal"),
    *(
        "<think>",
        "</think>",
        "<tool_call>",
        '{"name": "create_order", "arguments": ',
        "[TOOL_CALLS]",
    ),
    *("<|channel|>", "<parameter=items>", "\0", "\ud83d", "}", "create_order("),
)
TEXTS = st.lists(st.sampled_from(WORDS) | st.text(max_size=5), max_size=4).map("".join)
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | TEXTS,
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(st.sampled_from(WORDS) | st.text(max_size=3), inner, max_size=4)
    ),
    max_leaves=20,
)
MESSAGES = st.fixed_dictionaries({}, optional={"content": JSON, "tool_calls": JSON, "text": TEXTS})
CHOICES = st.fixed_dictionaries(
    {"message": MESSAGES | JSON}, optional={"finish_reason": JSON, "error": JSON}
)
BODIES = JSON | st.fixed_dictionaries(
    {"choices": st.lists(CHOICES, min_size=1, max_size=2)}, optional={"usage": JSON, "model": JSON}
)
TOOLS: Final = ("create_order", "remember_customer")


def answer(body: Any, status: int = 200) -> Answer:
    content = json.dumps(body).encode()
    return Answer.read(status, {}, content, secrets=())


@given(BODIES)
def test_any_body_of_a_200_is_a_completion_or_an_error_of_ours(body: Any) -> None:
    try:
        completion = read_completion(answer(body), TOOLS, model="m")
    except (WorkerError, CutOffError):
        return
    assert completion.text or completion.actions
    assert "<think>" not in completion.text
    json.dumps(completion.text, ensure_ascii=False).encode()
    mail: KeptMail = MAIL
    planned = plan(completion.text, completion.actions, mail)
    assert planned.text
    for task in planned.tasks:
        json.dumps(dict(task.kwargs), ensure_ascii=False).encode()


@given(JSON, st.integers(400, 599))
def test_any_body_of_a_refusal_is_an_error_of_ours(body: Any, status: int) -> None:
    error = Failure.read_body(answer(body, status).body, status).error({})
    assert isinstance(error, WorkerError)
    str(error).encode()
