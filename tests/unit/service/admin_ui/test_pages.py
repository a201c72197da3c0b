"""The pages show everything as text, nothing that was not asked for, in constant queries."""

import html
from datetime import timedelta

import pytest
from sqlalchemy import event, insert
from structlog.typing import EventDict

from middleware.policy import QUEUES
from mirt.clock import utc_now
from mirt.errors import DatabaseError
from mirt.runtime import Runtime
from mirt.store.queue.dead_letters import DeadLetter, write_dead_letter
from mirt.store.queue.tasks import TaskMessage
from mirt.store.tables import conversations, inbox, tasks
from service.admin_ui.auth.roles import Role
from tests.deployment import update
from tests.fakes import FakeServices, Status
from tests.statements import counting_statements
from tests.unit.service.admin_ui.conftest import OPERATOR, PAGES, Come
from tests.unit.service.conftest import Ingress

SCRIPT = "<script>alert('ой')</script>"
WORDS = "Чи є червона сукня?"


def letter(number: int, **task: str) -> DeadLetter:
    arguments = {"session_id": "7", "user_message": WORDS, **task}
    return DeadLetter(
        task=TaskMessage(f"task-{number}", "process_and_respond", kwargs=arguments),
        queue="llm",
        error_code="UNEXPECTED",
        exception=f"ValueError: {SCRIPT}",
        traceback=f"Traceback of {number}",
        attempts=1,
        trace_id=f"{number:032x}",
        sent_at=utc_now(),
    )


def write(services: Runtime, *letters: DeadLetter, ago_s: float = 1) -> None:
    with services.database.transaction() as tx:
        for one in letters:
            write_dead_letter(tx, one, now=utc_now() - timedelta(seconds=ago_s))


def fill(services: Runtime, first: int, last: int) -> None:
    """Conversations that wait, with tasks and dead letters."""
    now, numbers = utc_now(), range(first, last)
    with services.database.transaction() as tx:
        tx.execute(
            insert(conversations),
            [
                {
                    "session_id": str(n),
                    "platform": "telegram",
                    "customer_name": f"Оля {n}",
                    "head_task_id": f"t{n}",
                    "last_customer_at": now - timedelta(seconds=n),
                    "created_at": now,
                }
                for n in numbers
            ],
        )
        mail = {"actor": "process_and_respond", "text": WORDS, "platform": "telegram"}
        tx.execute(
            insert(inbox),
            [
                {
                    **mail,
                    "task_id": f"t{n}",
                    "session_id": "7" if n % 2 else str(n),
                    "metadata": {},
                    "trace_id": f"{n:032x}",
                    "state": "answered",
                    "received_at": now - timedelta(seconds=n % 3000),
                    "finished_at": now,
                }
                for n in numbers
            ],
        )
        tx.execute(
            insert(tasks),
            [
                {
                    "id": f"t{n}",
                    "actor": "process_and_respond",
                    "args": [],
                    "kwargs": {},
                    "options": {},
                    "session_id": "7" if n % 2 else str(n),
                    "state": "running",
                    "owner": "worker",
                    "due_at": now,
                    "created_at": now,
                    "started_at": now,
                    "first_started_at": now,
                }
                for n in numbers
            ],
        )
    write(services, *(letter(n) for n in numbers))


@pytest.mark.parametrize(
    "address",
    [
        *PAGES,
        "/ops/conversations?q=%D0%9E%D0%BB%D1%8F&kind=failed",
        "/ops/dead?queue=llm&since=1h",
        "/ops/dead/letter?id=task-7",
    ],
)
def test_a_page_asks_the_database_as_often_for_300_rows_as_for_10(
    here: Ingress, come: Come, address: str
) -> None:
    asked = []
    for first, last in ((1, 11), (11, 301)):
        fill(here.runtime, first, last)
        with counting_statements(here.runtime.database.engine) as made:
            assert come().get(address).status_code in {200, 404}
        asked.append(len(made))
    assert asked[0] == asked[1]
    assert asked[0] <= 20


def test_a_script_in_a_name_or_a_message_is_text(
    here: Ingress, come: Come, services: FakeServices
) -> None:
    services.misbehave("llm", Status(400))
    body = update(7, 1, SCRIPT)
    body["message"]["from"]["first_name"] = SCRIPT
    assert here.post(body).status_code == 200
    [found] = [found.task.task_id for found in _letters(here.runtime) if found.queue == "llm"]
    shown = 0
    for address in (
        "/ops",
        "/ops/conversations",
        f"/ops/conversations?q={SCRIPT}",
        "/ops/trace?id=7&texts=1",
        f"/ops/trace?id={SCRIPT}",
        "/ops/dead",
        f"/ops/dead?conversation={SCRIPT}&queue={SCRIPT}",
        f"/ops/dead/letter?id={found}&texts=1",
    ):
        page = come().get(address).text
        assert SCRIPT not in page
        shown += html.escape(SCRIPT, quote=False) in html.unescape(page).replace(
            SCRIPT, html.escape(SCRIPT, quote=False)
        )
    assert shown >= 6


def _letters(services: Runtime) -> list[DeadLetter]:
    from mirt.store.queue.dead_letters import DeadLetterFilter, list_dead

    with services.database.transaction() as tx:
        return list_dead(tx, DeadLetterFilter())


@pytest.mark.parametrize("role", Role)
def test_texts_are_hidden_until_asked_for_and_every_showing_is_logged(
    here: Ingress, come: Come, logs: list[EventDict], role: Role
) -> None:
    here.post(update(7, 1, WORDS))
    write(here.runtime, letter(1))
    visit = come(role)
    for address in ("/ops/trace?id=7", "/ops/dead/letter?id=task-1"):
        assert WORDS not in visit.get(address).text
        assert [line for line in logs if line.get("did") == "texts shown"] == []
        page = visit.get(f"{address}&texts=1").text
        assert WORDS in html.unescape(page)
        assert "data-live" not in page
        [line] = [line for line in logs if line.get("did") == "texts shown"]
        assert (line["role"], line["event"]) == (role.value, "operator")
        logs.clear()


def test_the_page_says_that_nothing_is_wrong_only_when_nothing_is(
    here: Ingress, come: Come
) -> None:
    from mirt.store.queue import workers
    from mirt.store.queue.workers import WorkerRow

    assert "no worker is running" in come().get("/ops").text.lower()
    now = utc_now()
    one = WorkerRow("w", "box", 1, list(QUEUES), 8, 0, 90, False, now, now)
    with here.runtime.database.transaction() as tx:
        workers.report(tx, one)
    assert "Nothing is wrong</h1>" in come().get("/ops").text
    write(here.runtime, letter(1))
    page = come().get("/ops").text
    assert "1 problem</h1>" in page
    assert "1 dead letter: 1 of llm (UNEXPECTED)" in page
    assert 'href="/ops/dead"' in page


def test_a_paused_conversation_is_a_problem_with_a_button_on_its_page(
    here: Ingress, come: Come
) -> None:
    fill(here.runtime, 7, 8)
    visit = come()
    address = "/ops/trace?id=7"
    assert ">Pause this conversation<" in visit.get(address).text
    paused = visit.send("/ops/pauses", do="pause", kind="conversation", name="7")
    assert paused.headers["location"] == address
    page = visit.get(address)
    assert "conversation 7 is paused." in page.text
    assert ">Resume this conversation<" in page.text
    assert "conversation 7 is paused since" in visit.get("/ops").text
    visit.send("/ops/pauses", do="resume", kind="conversation", name="7")
    assert "conversation 7 goes on; 0 tasks waited." in visit.get(address).text
    assert "is paused" not in visit.get("/ops").text


def test_paused_queues_tasks_and_channels_are_listed_with_buttons(
    here: Ingress, come: Come
) -> None:
    visit = come()
    for kind, name in (("queue", "llm"), ("task", "ping"), ("channel", "manychat")):
        visit.send("/ops/pauses", do="pause", kind=kind, name=name)
    page = visit.get("/ops/queues").text
    assert page.count(">Resume<") == 6
    for subject in ("queue llm", "task ping", "channel manychat"):
        assert f'<th scope="row">{subject}</th>' in page
    assert ">Resume<" not in come(Role.READER).get("/ops/queues").text


def test_the_confirmed_dead_letters_are_those_that_were_counted(
    here: Ingress, come: Come, logs: list[EventDict]
) -> None:
    write(here.runtime, *(letter(n) for n in range(3)), letter(9, session_id="9"))
    visit = come()
    asked = visit.send("/ops/dead/decide", do="discard-matching", conversation="7")
    assert "Discard 3 dead letters?" in asked.text
    assert len(_letters(here.runtime)) == 4, "nothing was done yet"
    write(here.runtime, letter(4), ago_s=-1)
    fields = dict(_hidden(asked.text))
    assert visit.post("/ops/dead/decide", fields).status_code == 303
    assert {one.task.task_id for one in _letters(here.runtime)} == {"task-4", "task-9"}
    assert "3 dead letters discarded." in visit.get("/ops/dead").text
    assert "discarded." not in visit.get("/ops/dead").text, "it is said once"
    [line] = [line for line in logs if line.get("did") == "discarded"]
    assert (line["count"], line["role"], line["which"]) == (3, "operator", "conversation 7")


def test_the_selected_ones_are_decided_about_and_no_others(here: Ingress, come: Come) -> None:
    write(here.runtime, *(letter(n) for n in range(3)))
    visit = come()
    asked = visit.send("/ops/dead/decide", do="discard-selected", id=["task-0", "task-2"])
    assert "Discard 2 dead letters?" in asked.text
    visit.post("/ops/dead/decide", _hidden(asked.text))
    assert [one.task.task_id for one in _letters(here.runtime)] == ["task-1"]


def test_a_purge_says_first_what_it_would_remove(here: Ingress, come: Come) -> None:
    asked = come().send("/ops/queues", queue="llm")
    assert "No task waits in this queue" in asked.text


@pytest.mark.parametrize(
    ("address", "why"),
    [
        ("/ops/conversations?kind=odd", "Kind: must be one of all, waiting, failed, unknown"),
        ("/ops/conversations?after=yesterday", "After: must be the end of a page"),
        ("/ops/conversations?after=2026-11-24T12:00~7", "After: must be the end of a page"),
        ("/ops/conversations?q=" + "x" * 201, "Q: at most 200 characters"),
        ("/ops/dead?since=long", "Since: must be an age like 30m, 24h, 7d, or a time"),
        ("/ops/dead?page=0", "Page: must be a number from 1"),
        ("/ops/dead?queue=%00", "Queue: must not be empty or contain NUL"),
        ("/ops/trace", "Id: name a conversation"),
        ("/ops/trace?id=%00", "Id: name a conversation"),
    ],
)
def test_a_request_that_makes_no_sense_is_told_why(come: Come, address: str, why: str) -> None:
    answer = come().get(address)
    assert answer.status_code == 400
    assert why in html.unescape(answer.text)


@pytest.mark.parametrize(
    ("address", "fields", "why"),
    [
        ("/ops/dead/decide", {"do": "burn"}, "must be one of replay-selected"),
        ("/ops/dead/decide", {"do": "replay-selected"}, "no dead letter is selected"),
        ("/ops/dead/decide", {"do": "replay-matching", "until": "soon"}, "until: must be"),
        ("/ops/queues", {"queue": "odd", "confirmed": "yes"}, "queue: must be one of"),
        ("/ops/schedule", {"task": "ping"}, "ping is not in the schedule"),
    ],
)
def test_a_form_that_makes_no_sense_does_nothing_and_says_why(
    come: Come, address: str, fields: dict[str, str], why: str
) -> None:
    answer = come().send(address, **fields)
    assert answer.status_code == 400
    assert why in html.unescape(answer.text)[0:].replace(
        "No dead letter", "no dead letter"
    ).replace("Until", "until").replace("Queue:", "queue:")


@pytest.mark.parametrize("address", ["/ops/trace?id=nobody", "/ops/dead/letter?id=nobody"])
def test_an_id_that_nobody_knows_is_404(come: Come, address: str) -> None:
    answer = come().get(address)
    assert answer.status_code == 404
    assert "Nothing has this id" in answer.text


@pytest.mark.parametrize("address", [page for page in PAGES if "letter" not in page])
def test_a_database_that_is_down_is_503_and_the_page_goes_on_refreshing(
    here: Ingress, come: Come, address: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def down(*_: object) -> None:
        raise DatabaseError("connection to server at 10.0.0.9 failed")

    event.listen(here.runtime.database.engine, "begin", down)
    answer = come().get(address)
    assert answer.status_code == 503
    assert "The database cannot be reached" in answer.text
    assert "data-live" in answer.text
    assert "10.0.0.9" not in answer.text


def test_a_form_too_large_or_of_another_kind_is_refused(here: Ingress, come: Come) -> None:
    bearer = {"Authorization": f"Bearer {OPERATOR}"}
    large = come(None).post("/ops/schedule", {"task": "x" * 70_000}, headers=bearer)
    assert large.status_code == 413
    answer = here.client.simulate_post("/ops/schedule", json={"task": "x"}, headers=bearer)
    assert answer.status_code == 415


def _hidden(page: str) -> list[tuple[str, str]]:
    """The fields of the form of this page."""
    import re

    form = page[page.index('action="/ops/dead/decide"') :]
    found = re.findall(r'<input type="hidden" name="([^"]+)" value="([^"]*)"', form)
    return [(name, html.unescape(value)) for name, value in found]


def test_a_customer_who_has_blocked_the_bot_is_shown_as_unreachable_and_nothing_as_wrong(
    here: Ingress, come: Come, services: FakeServices
) -> None:
    services.telegram.blocked_by.add("7")
    here.post(update(7, 1, WORDS))
    visit = come()
    assert "unreachable: the customer has blocked us" in visit.get("/ops/conversations").text
    story = visit.get("/ops/trace?id=7").text
    assert "Unreachable" in story
    assert "bot was blocked by the user; the customer is unreachable" in story
    assert "wrong" not in story.split('class="timeline"')[1].split("</ol>")[0]
    assert "dead letter" not in visit.get("/ops").text


def test_a_message_that_cannot_be_opened_is_told_by_its_kind(here: Ingress, come: Come) -> None:
    voice = update(7, 1, "")
    del voice["message"]["text"]
    here.post(voice | {"message": voice["message"] | {"voice": {"file_id": "f"}}})
    story = come().get("/ops/trace?id=7").text
    assert "it has content that cannot be opened: voice" in story
