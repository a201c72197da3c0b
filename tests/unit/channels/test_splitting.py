"""Replies are cut where a reader would cut them."""

from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mirt.channels.splitting import split_text, utf8_length, utf16_length, well_formed


def test_a_short_text_stays_whole() -> None:
    assert split_text("Вітаю!\n\nЩо шукаєте?", 100) == ["Вітаю!\n\nЩо шукаєте?"]


def test_a_blank_text_has_no_parts() -> None:
    assert split_text(" \n\t", 10) == []


def test_a_paragraph_comes_before_a_line() -> None:
    assert split_text("aa\n\nbb\ncc dd", 8) == ["aa", "bb\ncc dd"]


def test_a_line_comes_before_a_word() -> None:
    assert split_text("aa\nbb cc", 6) == ["aa", "bb cc"]


def test_a_word_comes_before_anywhere() -> None:
    assert split_text("aaa bbb ccc", 8) == ["aaa bbb", "ccc"]


def test_a_part_may_fill_the_limit_exactly() -> None:
    assert split_text("aaaa bbbb", 4) == ["aaaa", "bbbb"]


def test_a_paragraph_break_just_behind_the_limit_counts() -> None:
    assert split_text("a b\n\nc", 3) == ["a b", "c"]


def test_a_word_without_end_is_cut_anywhere() -> None:
    assert split_text("aaaaabbbbb", 5) == ["aaaaa", "bbbbb"]


def test_no_emoji_is_cut_in_two() -> None:
    assert split_text("😀😀😀", 3) == ["😀", "😀", "😀"]


def test_an_emoji_counts_twice() -> None:
    assert utf16_length("я😀") == 3


@pytest.mark.parametrize(
    ("whole", "limit"),
    [
        ("👩🏽‍🚀", 7),  # joined of five code points
        ("🇺🇦", 4),  # a flag of two letters
        ("и\u0306", 2),  # a letter and its mark
        ("👍🏽", 4),  # a hand and its colour
    ],
)
def test_no_character_of_several_code_points_is_cut(whole: str, limit: int) -> None:
    assert split_text(whole * 3, limit + 1) == [whole] * 3


def test_an_endless_run_of_marks_is_cut() -> None:
    parts = split_text("а" + "\u0301" * 500, 100)
    assert all(utf16_length(part) <= 100 for part in parts)


def test_a_limit_may_count_bytes() -> None:
    parts = split_text("Слово " * 300, 1000, utf8_length)
    assert " ".join(parts) == " ".join(["Слово"] * 300)
    assert all(utf8_length(part) <= 1000 for part in parts)
    assert utf8_length(parts[0]) > 980


def test_halves_of_one_emoji_are_joined_and_lone_ones_replaced() -> None:
    assert well_formed("\ud83d\ude00 \ud83d \0") == "😀 � "


@given(
    st.text(st.sampled_from("ab\n \u00a0\t😀é\u0301\u200d\ud83d\ude00\0"), max_size=80),
    st.integers(min_value=4, max_value=20),
    st.sampled_from([utf16_length, utf8_length]),
)
def test_parts_fit_are_not_blank_and_lose_nothing_but_space(
    text: str, limit: int, length: Callable[[str], int]
) -> None:
    parts = split_text(text, limit, length)
    assert all(part.strip() and length(part) <= limit for part in parts)
    assert "".join("".join(parts).split()) == "".join(well_formed(text).split())
    assert all(part.encode() for part in parts), "each part is valid UTF-8"


def test_a_reply_has_no_character_that_a_terminal_or_a_text_obeys() -> None:
    obeyed = [*range(9), *range(0x0B, 0x20), *range(0x7F, 0xA0), *range(0x202A, 0x202F)]
    text = "".join(f"a{chr(code)}" for code in [*obeyed, *range(0x2066, 0x206A)])
    assert split_text(f"{text}\tb\r\nc", 1000) == ["a" * (len(text) // 2) + "\tb\nc"]
