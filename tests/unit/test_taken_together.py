"""Waiting mail is answered together, within limits."""

import pytest

from mirt.channels.webhook import LONGEST_TEXT
from mirt.conversations import TURN_MESSAGES, is_command, taken_together
from mirt.store.shop.mailbox import KeptMail, MailState
from mirt.task_names import TaskName
from tests.clock import NOON


def kept(number: int, text: str = "hello", *, actor: str = "process_and_respond") -> KeptMail:
    return KeptMail(
        task_id=f"t{number}",
        session_id="s",
        actor=actor,
        text=text,
        platform="telegram",
        trace_id="trace",
        id=number,
        state=MailState.WAITING,
        turn_id=None,
        received_at=NOON,
    )


def taken(*waiting: KeptMail) -> list[int]:
    return [one.id for one in taken_together(list(waiting))]


def test_a_turn_takes_twenty_messages_at_most() -> None:
    assert taken(*(kept(n) for n in range(25))) == list(range(TURN_MESSAGES))
    assert TURN_MESSAGES == 20


def test_a_turn_takes_eight_thousand_characters_at_most() -> None:
    half = "x" * (LONGEST_TEXT // 2)
    assert taken(kept(1, half), kept(2, half), kept(3, "x")) == [1, 2]
    assert taken(kept(1, half), kept(2, half + "x"), kept(3, "x")) == [1]
    assert LONGEST_TEXT == 8_000


def test_the_first_is_taken_however_long_it_is() -> None:
    assert taken(kept(1, "x" * 9_000), kept(2)) == [1]


@pytest.mark.parametrize("command", ["/start", "/restart", "/start@mirt_bot", "/start promo"])
def test_a_command_is_a_turn_of_its_own(command: str) -> None:
    assert taken(kept(1, command), kept(2)) == [1]
    assert taken(kept(1), kept(2, command), kept(3)) == [1]


def test_messages_that_are_answered_in_another_way_are_another_turn() -> None:
    assert taken(kept(1), kept(2), kept(3, actor=TaskName.PROCESS_MESSAGE), kept(4)) == [1, 2]


@pytest.mark.parametrize("text", ["start", "please /start", "/started", "", "  ", "/START"])
def test_a_text_that_only_looks_like_a_command_is_none(text: str) -> None:
    assert not is_command(kept(1, text))
