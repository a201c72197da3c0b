"""Dead letters of one cause have one name, whatever ids and numbers their errors quote."""

import pytest

from mirt.store.queue.causes import LONGEST, cause_of


@pytest.mark.parametrize(
    ("exception", "cause"),
    [
        ("ValueError: chat 1234567", "ValueError: chat …"),
        ("PermanentError: llm: 400 Bad Request", "PermanentError: llm: 400 Bad Request"),
        ("X: llm: 502 after 12.5 s", "X: llm: 502 after … s"),
        ("X: order 9f8e7d6c5b4a", "X: order …"),
        ("X: 550e8400-e29b-41d4-a716-446655440000", "X: …"),
        ('X: no "Сукня літня" here', 'X: no "…" here'),
        ("X: two\nlines", "X: two lines"),
        ("X: deadbeef is no id", "X: deadbeef is no id"),
    ],
)
def test_the_cause_leaves_out_what_differs_from_task_to_task(exception: str, cause: str) -> None:
    assert cause_of(exception) == cause


def test_a_cause_is_short() -> None:
    assert len(cause_of("X: " + "слово " * 100)) == LONGEST
