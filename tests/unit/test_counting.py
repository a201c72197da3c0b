"""Operators read counts in words, and no plural in brackets."""

import re

import pytest

from mirt.counting import counted
from tests.deployment import ROOT

PRODUCT = ("service", "actors", "broker", "middleware", "mirt")


@pytest.mark.parametrize(
    ("number", "noun", "words"),
    [
        (0, "reply", "0 replies"),
        (1, "reply", "1 reply"),
        (2, "reply", "2 replies"),
        (2, "day", "2 days"),
        (1200, "order", "1,200 orders"),
    ],
)
def test_a_count_has_its_noun_in_the_right_number(number: int, noun: str, words: str) -> None:
    assert counted(number, noun) == words


def test_no_text_has_a_plural_in_brackets() -> None:
    files = [file for part in PRODUCT for file in (ROOT / part).rglob("*.*")]
    texts = {str(f): f.read_text() for f in files if f.suffix in {".py", ".html", ".js"}}
    assert len(texts) > 300
    assert [name for name, text in texts.items() if re.search(r"[a-z]\(s\)", text)] == []
