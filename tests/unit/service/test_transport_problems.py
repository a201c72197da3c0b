"""Workers that report the same reason of RabbitMQ make one problem of it."""

from datetime import UTC, datetime

from mirt.store.queue.workers import PUBLISHING, WorkerRow
from service.admin.queues import TransportProblem, transport_problems

NOW = datetime(2026, 9, 21, tzinfo=UTC)


def worker(host: str, problems: dict[str, str] | None) -> WorkerRow:
    queues = ("crm", "default", "llm")
    return WorkerRow(f"{host}:1", host, 1, queues, 8, 0, 90, False, NOW, NOW, problems=problems)


def test_one_reason_is_one_problem_for_all_queues_and_workers() -> None:
    gone = dict.fromkeys(("llm", "crm", PUBLISHING), "vhost not found")
    found = transport_problems([worker("a", gone), worker("b", gone), worker("c", None)])
    assert found == [TransportProblem("vhost not found", ("crm", "llm", PUBLISHING), ("a", "b"))]


def test_another_reason_or_another_worker_is_another_problem() -> None:
    found = transport_problems(
        [worker("a", {"llm": "refused", "crm": "in use"}), worker("b", {"llm": "refused"})]
    )
    assert found == [
        TransportProblem("in use", ("crm",), ("a",)),
        TransportProblem("refused", ("llm",), ("a", "b")),
    ]
