"""The page keeps a trail of what operators do with it, and shows it."""

import pytest

from mirt.errors import DatabaseError
from mirt.runtime import Runtime
from mirt.store.queue import audit
from mirt.store.queue.audit import acts
from mirt.store.queue.dead_letters import DeadLetter, write_dead_letter
from mirt.store.queue.tasks import TaskMessage
from service.admin_ui.auth.roles import Role
from tests.clock import NOON
from tests.unit.service.admin_ui.conftest import Come
from tests.unit.service.conftest import Ingress

Found = list[tuple[str, str | None, int | None, str]]


def found(runtime: Runtime) -> Found:
    with runtime.database.transaction() as tx:
        return [(one.act, one.target, one.count, one.outcome.value) for one in acts(tx, limit=99)]


def bury(runtime: Runtime, *task_ids: str) -> None:
    for task_id in task_ids:
        task = TaskMessage(task_id, "summarize_session", kwargs={"session_id": "7"})
        letter = DeadLetter(task, "summarization", "UNEXPECTED", "Error: x", "", 1, None, NOON)
        with runtime.database.transaction() as tx:
            write_dead_letter(tx, letter, now=NOON)


def test_every_act_of_the_page_is_in_the_audit(here: Ingress, come: Come) -> None:
    bury(here.runtime, "a", "b", "c")
    visit = come()
    visit.send("/ops/dead/decide", do="discard-selected", id=["a"], confirmed="yes")
    visit.send("/ops/dead/decide", do="replay-matching", conversation="7", confirmed="yes")
    visit.send("/ops/queues", queue="llm", confirmed="yes")
    visit.send("/ops/schedule", task="sweep_mailboxes")
    visit.send("/ops/logout")
    assert found(here.runtime)[::-1] == [
        ("discard", "a", 1, "done"),
        ("replay", "conversation 7", 2, "done"),
        ("purge", "queue llm", 0, "done"),
        ("run now", "sweep_mailboxes", None, "done"),
        ("log out", None, None, "done"),
    ]


def test_a_preview_is_no_act(here: Ingress, come: Come) -> None:
    bury(here.runtime, "a")
    visit = come()
    visit.send("/ops/dead/decide", do="discard-selected", id=["a"])
    visit.send("/ops/queues", queue="llm")
    assert found(here.runtime) == []


def test_an_act_that_a_reader_may_not_do_is_in_the_audit(here: Ingress, come: Come) -> None:
    come(Role.READER).send("/ops/queues", queue="llm", confirmed="yes")
    assert found(here.runtime) == [("POST /ops/queues", None, None, "refused")]


def test_texts_are_shown_with_a_trail_or_not_at_all(
    here: Ingress, come: Come, monkeypatch: pytest.MonkeyPatch
) -> None:
    bury(here.runtime, "a")
    assert come(Role.READER).get("/ops/dead/letter?id=a&texts=1").status_code == 200
    assert found(here.runtime) == [("show texts", "a", None, "done")]

    def fail(*_args: object, **_values: object) -> int:
        raise DatabaseError("away")

    monkeypatch.setattr(audit, "record_act", fail)
    assert come().get("/ops/dead/letter?id=a&texts=1").status_code == 503
    assert come().get("/ops/dead/letter?id=a").status_code == 200


def test_the_page_shows_the_acts_from_the_latest_on(here: Ingress, come: Come) -> None:
    visit = come()
    for _ in range(101):
        visit.send("/ops/schedule", task="sweep_mailboxes")
    first = visit.get("/ops/audit").text
    assert first.count('<td data-label="Act">run now</td>') == 100
    assert 'href="/ops/audit?before=2"' in first
    assert visit.get("/ops/audit?before=2").text.count("run now") == 1
    assert visit.get("/ops/audit?before=x").status_code == 400
