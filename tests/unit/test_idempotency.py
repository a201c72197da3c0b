"""The same event has the same id, and no other event has it."""

import re
from itertools import pairwise

import pytest

from mirt.idempotency import message_task_id, webhook_task_id

EVENT = ("telegram", "100", "7", "process")


def test_the_same_event_has_the_same_id() -> None:
    assert webhook_task_id(*EVENT) == webhook_task_id(*EVENT)


def test_the_id_says_what_it_is_of() -> None:
    assert re.fullmatch(r"telegram:process:[0-9a-f]{16}", webhook_task_id(*EVENT))


def test_the_id_is_the_same_in_every_process_and_release() -> None:
    assert webhook_task_id(*EVENT) == "telegram:process:76df50fc84a31906"


@pytest.mark.parametrize("part", range(4))
def test_each_of_the_four_parts_makes_another_event(part: int) -> None:
    other = [*EVENT]
    other[part] += "1"
    digests = {webhook_task_id(*parts).rpartition(":")[2] for parts in (EVENT, other)}
    assert len(digests) == 2


def test_parts_do_not_run_into_each_other() -> None:
    alike = [
        ("telegram", "1", "23", "process"),
        ("telegram", "12", "3", "process"),
        ("telegram", "1:23", "", "process"),
        ("telegram", "1", "2:3", "process"),
        ("telegram", "1:2", "3", "process"),
        ("telegram", "12:3", "", "process"),
    ]
    ids = [webhook_task_id(*parts) for parts in alike]
    assert len(set(ids)) == len(ids)


def test_a_number_and_its_text_are_the_same_id() -> None:
    assert webhook_task_id("telegram", 100, 7, "process") == webhook_task_id(*EVENT)


def test_message_zero_is_a_message() -> None:
    ids = [webhook_task_id("telegram", 0, 7, "process") for _ in range(2)]
    assert ids[0] == ids[1]


@pytest.mark.parametrize("nothing", [None, ""])
def test_without_a_message_id_every_event_is_another(nothing: str | None) -> None:
    ids = sorted(webhook_task_id("telegram", nothing, "7", "process") for _ in range(100))
    assert all(one != other for one, other in pairwise(ids))
    assert re.fullmatch(r"telegram:process:[0-9a-f]{16}", ids[0])


@pytest.mark.parametrize("part", range(4))
def test_each_part_of_its_identity_makes_another_message(part: int) -> None:
    message = ["telegram", "77", "7", "100"]
    other = [*message]
    other[part] += "1"
    digests = {message_task_id(*parts).rpartition(":")[2] for parts in (message, other)}
    assert len(digests) == 2


def test_the_task_id_of_a_message_is_the_same_in_every_release() -> None:
    assert message_task_id("telegram", "77", 7, 100) == webhook_task_id(
        "telegram", "100", "77/7", "process"
    )
