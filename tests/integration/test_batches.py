"""Messages that PostgreSQL stores together: which of them go alone, and what all of them change."""

from collections.abc import Callable
from datetime import timedelta

import pytest

from mirt.channels import ReachabilityChange
from mirt.clock import utc_now
from mirt.conversations import Accepted
from mirt.runtime import current_runtime
from mirt.store.shop.mailbox import Mail
from mirt.store.tables import conversations, inbox
from tests.integration.conftest import Running, rows
from tests.unit.business import mail

PHOTO = {"photo": {"file_id": "f"}}


@pytest.fixture(autouse=True)
def _shop(run: Callable[..., Running]) -> None:
    run("rabbitmq", work=False)


def accept(*mails: Mail) -> list[Accepted | None]:
    return current_runtime().conversations.accept_together(mails)


def test_the_message_of_an_unreachable_customer_ends_that(run: Callable[..., Running]) -> None:
    accept(mail("t1"))
    later = utc_now() + timedelta(seconds=5)
    current_runtime().reachability.record(ReachabilityChange("telegram", "s", False, later))
    assert rows(conversations)[0].unreachable_since == later
    accept(mail("t2"))
    assert rows(conversations)[0].unreachable_since is None


def test_an_edit_is_stored_alone_since_it_may_change_another_message() -> None:
    accept(mail("t1", "відділення 5", message_id="5"))
    edit = mail("e1", "відділення 7", message_id="5:9", metadata={"edit_of": "5", "edited_at": 1})
    other = mail("t2", session_id="other")
    together = accept(edit, other)
    assert together[0] is None
    assert together[1] is not None
    current_runtime().conversations.accept(edit)
    assert [row.text for row in rows(inbox)] == ["відділення 7", "t2"]


def test_the_part_of_an_album_is_stored_alone_since_its_turn_waits_for_the_others() -> None:
    part = mail("p1", "", metadata={**PHOTO, "album": "1377"})
    assert accept(part) == [None]
    alone = current_runtime().conversations.accept(part)
    assert (alone.duplicate, alone.publication) == (False, None)
