"""The three shapes of an answer, and what becomes of a message that is handed over."""

import re
import shutil
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from dramatiq import Message
from structlog.contextvars import bound_contextvars

from broker.durable import DurableBroker
from broker.stack import install
from broker.task import registry
from middleware.policy import QUEUES
from mirt.errors import DatabaseError, ErrorCode, PermanentError
from mirt.runtime import Runtime, open_runtime, use_runtime
from mirt.store.tables import inbox, tasks
from service.dispatcher import ResultTimeoutError, dispatch_message
from service.processes.worker_main import start_worker, stop_worker
from tests.fakes import FakeServices, Status
from tests.settings import settings_for, sqlite_url
from tests.unit.business import rows


@dataclass
class Service:
    runtime: Runtime
    broker: DurableBroker

    def rows(self, table: Any) -> list[Any]:
        return rows(self.runtime.database, table)


Serve = Callable[..., Service]


@pytest.fixture
def serve(services: FakeServices, tmp_path: Path, migrated: Path) -> Iterator[Serve]:
    """Open the business and a broker as the settings ask for; ``work`` starts a worker too."""
    close: list[Callable[[], object]] = [registry.release]

    def open_service(*, work: bool = False, **values: Any) -> Service:
        shutil.copy(migrated, tmp_path / "mirt.db")
        settings = settings_for(services, database_url=sqlite_url(tmp_path), **values)
        opened = open_runtime(settings)
        use_runtime(opened)
        broker = install(settings)
        close.extend([opened.close, broker.close])
        if work:
            worker = start_worker(broker, queues=set(QUEUES), threads=2, idle_ms=20)
            close.append(lambda: stop_worker(worker, grace_s=10))
        return Service(opened, broker)

    yield open_service
    for end in reversed(close):
        end()


@pytest.fixture(params=["direct", "eager", "queued"])
def any_mode(request: pytest.FixtureRequest, serve: Serve) -> Service:
    how = {"direct": {"TASKS_ENABLED": False}, "eager": {"TASKS_EAGER": True}, "queued": {}}
    return serve(**how[request.param])


def published(service: Service) -> list[str]:
    """The ids of the messages that wait in the embedded broker for an agent's turn."""
    queue = service.broker.queues["llm"]
    return [Message.decode(queue.get_nowait()).message_id for _ in range(queue.qsize())]


def test_with_tasks_disabled_the_answer_is_returned(serve: Serve) -> None:
    serve(TASKS_ENABLED=False)
    with bound_contextvars(trace_id="trace"):
        answer = dispatch_message("s", "hello", chat_id="7")
    assert answer == {"queued": False, "response": "echo: hello", "trace_id": "trace"}


def test_with_tasks_disabled_a_reply_that_is_to_be_delivered_is(
    serve: Serve, services: FakeServices
) -> None:
    serve(TASKS_ENABLED=False)
    answer = dispatch_message("s", "hello", chat_id="7", fire_and_forget=True)
    assert (answer["queued"], answer["response"]) == (False, "echo: hello")
    assert services.sent("7") == ["echo: hello"]


def test_with_eager_tasks_the_work_is_done_when_it_returns(
    serve: Serve, services: FakeServices
) -> None:
    service = serve(TASKS_EAGER=True)
    answer = dispatch_message("s", "hello", chat_id="7", fire_and_forget=True)
    assert answer["queued"]
    assert services.sent("7") == ["echo: hello"]
    assert [row.state for row in service.rows(tasks)] == ["done"]


def test_a_queued_message_is_answered_later(serve: Serve, services: FakeServices) -> None:
    service = serve()
    with bound_contextvars(trace_id="trace"):
        answer = dispatch_message("s", "hello", chat_id="7", message_id="5")
    assert answer == {
        "queued": True,
        "task_id": answer["task_id"],
        "trace_id": "trace",
        "mode": "async",
        "duplicate": False,
    }
    assert [row.task_id for row in service.rows(inbox)] == [answer["task_id"]]
    assert published(service) == [answer["task_id"]]
    assert services.requests("llm") == []


@pytest.mark.parametrize(
    ("fire_and_forget", "mode", "actor"),
    [(True, "fire_and_forget", "process_and_respond"), (False, "async", "process_message")],
)
def test_the_mode_says_whether_the_reply_is_delivered(
    serve: Serve, fire_and_forget: bool, mode: str, actor: str
) -> None:
    service = serve()
    answer = dispatch_message("s", "hello", chat_id="7", fire_and_forget=fire_and_forget)
    assert answer["mode"] == mode
    assert [row.actor for row in service.rows(tasks)] == [actor]


@pytest.mark.parametrize("how", [{"work": True}, {"TASKS_EAGER": True}], ids=["worker", "eager"])
def test_a_waiting_caller_gets_the_result(serve: Serve, how: dict[str, Any]) -> None:
    serve(**how)
    answer = dispatch_message("s", "hello", chat_id="7", wait=True)
    assert answer["result"] == {
        "status": "success",
        "session_id": "s",
        "response": "echo: hello",
        "response_length": 11,
        "platform": "telegram",
        "chat_id": "7",
    }


def test_a_caller_that_waits_in_vain_is_told_for_how_long_and_that_the_message_is_kept(
    serve: Serve,
) -> None:
    service = serve(RESULT_TIMEOUT=1)
    with pytest.raises(ResultTimeoutError, match=r"after 1 s \(RESULT_TIMEOUT\).* is kept"):
        dispatch_message("s", "hello", chat_id="7", wait=True)
    assert [row.state for row in service.rows(inbox)] == ["waiting"]


def test_a_caller_whose_message_was_answered_with_another_gets_that_answer(
    serve: Serve, services: FakeServices
) -> None:
    service = serve(RESULT_TIMEOUT=1)
    dispatch_message("s", "one", chat_id="7", message_id="1")
    dispatch_message("s", "two", chat_id="7", message_id="2")
    worker = start_worker(service.broker, queues=set(QUEUES), threads=2, idle_ms=20)
    try:
        first = dispatch_message("s", "one", chat_id="7", message_id="1", wait=True)
        second = dispatch_message("s", "two", chat_id="7", message_id="2", wait=True)
    finally:
        stop_worker(worker, grace_s=10)
    assert first["result"]["response"] == second["result"]["response"]
    assert len(services.requests("llm")) == 1


def test_a_waiting_caller_is_told_of_a_failure(serve: Serve, services: FakeServices) -> None:
    services.misbehave("llm", Status(400), times=None)
    serve(work=True)
    with pytest.raises(PermanentError, match="the task has failed") as failure:
        dispatch_message("s", "hello", chat_id="7", wait=True)
    assert failure.value.error_code == ErrorCode.LLM_REFUSED


def test_with_tasks_disabled_a_failure_is_the_callers(serve: Serve, services: FakeServices) -> None:
    services.misbehave("llm", Status(400), times=None)
    serve(TASKS_ENABLED=False)
    with pytest.raises(PermanentError) as failure:
        dispatch_message("s", "hello", chat_id="7")
    assert failure.value.error_code == ErrorCode.LLM_REFUSED


def test_the_same_message_again_is_a_duplicate_of_the_same_task(serve: Serve) -> None:
    service = serve()
    first = dispatch_message("s", "hello", chat_id="7", message_id="5")
    again = dispatch_message("s", "hello", chat_id="7", message_id="5")
    assert (first["duplicate"], again["duplicate"]) == (False, True)
    assert first["task_id"] == again["task_id"]
    assert published(service) == [first["task_id"]]


def test_of_a_conversation_one_message_is_published(serve: Serve) -> None:
    service = serve()
    head, *_ = [dispatch_message("s", text, chat_id="7")["task_id"] for text in ("one", "two")]
    assert published(service) == [head]
    assert len(service.rows(inbox)) == 2


def test_the_same_message_id_of_another_chat_is_another_message(serve: Serve) -> None:
    service = serve()
    answers = [
        dispatch_message(session_id, "hello", chat_id=chat, user_id="1", message_id="5")
        for session_id, chat in (("telegram_7", "7"), ("telegram_8", "8"))
    ]
    assert [answer["duplicate"] for answer in answers] == [False, False]
    assert len(service.rows(inbox)) == 2


def test_without_a_message_id_every_message_is_a_new_one(serve: Serve) -> None:
    service = serve()
    for _ in range(2):
        assert not dispatch_message("s", "hello", chat_id="7")["duplicate"]
    assert len(service.rows(inbox)) == 2


def test_the_task_id_says_where_the_message_came_from(serve: Serve) -> None:
    serve()
    answer = dispatch_message("s", "hello", chat_id="7", message_id="5")
    assert re.fullmatch(r"telegram:process:[0-9a-f]{16}", answer["task_id"])


def test_without_a_trace_a_new_one_begins(serve: Serve) -> None:
    serve()
    traces = {dispatch_message("s", "hello", chat_id="7")["trace_id"] for _ in range(2)}
    assert len(traces) == 2


@pytest.mark.parametrize(
    ("arguments", "code"),
    [
        ({"user_message": " "}, ErrorCode.EMPTY_MESSAGE),
        ({"session_id": ""}, ErrorCode.INVALID_INPUT),
        ({"platform": "viber"}, ErrorCode.INVALID_INPUT),
        ({"chat_id": None, "fire_and_forget": True}, ErrorCode.INVALID_INPUT),
    ],
)
def test_a_wrong_message_is_refused_and_nothing_is_kept(
    any_mode: Service, arguments: dict[str, Any], code: ErrorCode
) -> None:
    with pytest.raises(PermanentError) as refusal:
        dispatch_message(**{"session_id": "s", "user_message": "hello", "chat_id": "7"} | arguments)
    assert refusal.value.error_code == code
    assert any_mode.rows(inbox) == []
    assert any_mode.rows(tasks) == []


def test_a_message_that_could_not_be_kept_is_not_reported_as_queued(any_mode: Service) -> None:
    with any_mode.runtime.database.transaction() as tx:
        inbox.drop(tx)
    with pytest.raises(DatabaseError):
        dispatch_message("s", "hello", chat_id="7")
    assert any_mode.rows(tasks) == []
