"""A quoted customer is struck out of the error of an outside service; its own words stay."""

import pytest

from mirt.http.quotes import STRUCK, strike_out

ORDER = {
    "customer": {"name": "Олена Коваль-Шевчук", "phone": "+380501234567", "email": "o@ukr.net"},
    "items": [{"name": "Сукня святкова", "price": 499.9}],
    "status": "pending",
}


@pytest.mark.parametrize(
    ("said", "kept"),
    [
        ("phone: is blacklisted", "phone: is blacklisted"),
        ("Bad Request: chat not found", "Bad Request: chat not found"),
        ("status pending is unknown", "status pending is unknown"),
        ("Коваль-Шевчук is on the stop list", f"{STRUCK} is on the stop list"),
        ("name ОЛЕНА, Шевчук", f"name {STRUCK}, {STRUCK}"),
        ("call 050 123 45 67 or 0501234567", f"call {STRUCK} or {STRUCK}"),
        ("+38 (067) 111-22-33 of another", f"{STRUCK} of another"),
        ("write to other.one@gmail.com", f"write to {STRUCK}"),
        ("no more Сукня of 499.9", f"no more {STRUCK} of 499.9"),
        ("at most 4096 characters", "at most 4096 characters"),
    ],
)
def test_an_error_keeps_its_own_words_only(said: str, kept: str) -> None:
    assert strike_out(said, ORDER) == kept


def test_the_words_of_a_conversation_are_struck_out_and_those_of_our_prompt_are_not() -> None:
    request = {
        "model": "m/one",
        "messages": [
            {"role": "system", "content": "maximum context length"},
            {"role": "user", "content": "моя таємниця"},
        ],
    }
    said = "maximum context length exceeded by 'моя таємниця'"
    assert strike_out(said, request) == f"maximum context length exceeded by '{STRUCK} {STRUCK}'"
