"""The only HTTP client: what each failure of a service becomes, and what never gets out."""

import logging
import socket
import threading
import time
import traceback
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from contextvars import copy_context
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from math import inf

import httpcore
import pytest
from pydantic import SecretStr

from mirt import service_calls
from mirt.clock import deadline_in
from mirt.errors import (
    ErrorCode,
    ExternalServiceError,
    OutageError,
    OutcomeUnknownError,
    PermanentError,
    RateLimitError,
    SoftTimeLimitExceeded,
    WorkerError,
)
from mirt.http import Answer, ExternalService
from mirt.http.answer import read_retry_after
from mirt.http.breaker import Breaker, Cause
from mirt.http.network import BoundedStream, request_deadline
from tests.fakes import FakeServices, Garbage, Hang, Misbehaviour, Reset, SlowBytes, Status, TooMany

TOKEN, KEY = "123456:very-secret-token", "sk-very-secret-key"
NOWHERE = "http://127.0.0.1:1"

Build = Callable[..., ExternalService]


@pytest.fixture
def build(services: FakeServices) -> Iterator[Build]:
    """Services of the fake world with short timeouts, closed at the end."""
    opened = []

    def build(
        base_url: str = services.url,
        *,
        timeout: float = 5,
        breaker: bool = True,
        connections: int = 8,
    ) -> ExternalService:
        service = ExternalService(
            "crm",
            SecretStr(f"{base_url}/bot{TOKEN}"),
            headers={"Authorization": SecretStr(f"Bearer {KEY}")},
            secrets=[SecretStr(TOKEN)],
            timeout=timeout,
            refusal_code=ErrorCode.CRM_REJECTED,
            breaker=breaker,
            max_connections=connections,
        )
        opened.append(service)
        return service

    yield build
    for service in opened:
        service.close()


def ask(service: ExternalService, text: str = "hello", *, idempotent: bool = False) -> Answer:
    body = {"chat_id": 7, "text": text}
    return service.call("POST", "/sendMessage", json=body, idempotent=idempotent)


def test_a_json_answer_comes_back_parsed(build: Build) -> None:
    answer = ask(build())
    assert answer.status == 200
    assert answer.body["result"]["text"] == "hello"
    assert answer.headers["CONTENT-TYPE"] == "application/json"


def test_parameters_and_headers_arrive(build: Build, services: FakeServices) -> None:
    build().call("GET", "/getMe", params={"external_id": "a b"})
    (request,) = services.requests()
    assert request.query == {"external_id": "a b"}
    assert request.headers["authorization"] == f"Bearer {KEY}"


def test_half_an_emoji_is_no_reason_to_fail(build: Build, services: FakeServices) -> None:
    ask(build(), "cut \ud83d")
    assert services.sent(7) == ["cut ?"]


def test_connections_are_kept_alive_and_shared_by_threads(
    build: Build, services: FakeServices
) -> None:
    service = build(connections=2)
    with ThreadPoolExecutor(8) as threads:
        list(threads.map(lambda n: ask(service, str(n)), range(40)))
    assert len(services.sent(7)) == 40
    assert services.connections <= 2


def test_calls_to_one_service_run_at_the_same_time(build: Build, services: FakeServices) -> None:
    services.misbehave("telegram", Hang(), times=4)
    service = build()
    with ThreadPoolExecutor(4) as threads:
        calls = [threads.submit(ask, service) for _ in range(4)]
        services.wait_until(lambda: len(services.requests()) == 4)
        services.release()
        assert {call.result().status for call in calls} == {200}


def test_a_closed_service_opens_again_when_asked(build: Build) -> None:
    service = build()
    ask(service)
    service.close()
    assert ask(service).status == 200


FAILURES = [408, 500, 502, 503, 504, 524]


@pytest.mark.parametrize("status", FAILURES)
def test_a_failure_after_the_request_was_sent_leaves_the_outcome_unknown(
    build: Build, services: FakeServices, status: int
) -> None:
    services.misbehave("telegram", Status(status, applied=True))
    with pytest.raises(OutcomeUnknownError, match=f"crm: POST /sendMessage answered {status}"):
        ask(build())
    assert services.sent(7) == ["hello"]


@pytest.mark.parametrize("status", FAILURES)
def test_a_failure_of_an_idempotent_call_is_only_a_failure(
    build: Build, services: FakeServices, status: int
) -> None:
    services.misbehave("telegram", Status(status))
    with pytest.raises(ExternalServiceError, match=f"answered {status}") as failed:
        ask(build(), idempotent=True)
    assert not isinstance(failed.value, OutcomeUnknownError)


def test_a_503_that_names_a_time_was_surely_not_done(build: Build, services: FakeServices) -> None:
    services.misbehave("telegram", Status(503, headers={"Retry-After": "5"}))
    with pytest.raises(ExternalServiceError, match="answered 503") as failed:
        ask(build())
    assert not isinstance(failed.value, OutcomeUnknownError)


@pytest.mark.parametrize("status", [408, 500, 502, 504])
def test_retry_after_proves_nothing_on_any_other_status(
    build: Build, services: FakeServices, status: int
) -> None:
    services.misbehave("telegram", Status(status, headers={"Retry-After": "5"}))
    with pytest.raises(OutcomeUnknownError):
        ask(build())


@pytest.mark.parametrize("status", [400, 401, 403, 404, 409, 422])
def test_a_refusal_is_permanent(build: Build, services: FakeServices, status: int) -> None:
    services.misbehave("telegram", Status(status, headers={"Location": "/elsewhere"}))
    with pytest.raises(PermanentError) as refused:
        ask(build())
    assert refused.value.error_code is ErrorCode.CRM_REJECTED
    assert len(services.requests()) == 1


def test_an_address_that_has_moved_is_an_outage(build: Build, services: FakeServices) -> None:
    services.misbehave("telegram", Status(301, headers={"Location": "/elsewhere"}))
    with pytest.raises(OutageError, match="crm refuses us: 301 it has moved"):
        ask(build())
    assert len(services.requests()) == 1


def test_a_refusal_that_the_caller_accepts_comes_back(build: Build, services: FakeServices) -> None:
    services.misbehave("telegram", Status(422, {"message": "no such size"}))
    answer = build().call("POST", "/sendMessage", accept=[422])
    assert (answer.status, answer.body) == (422, {"message": "no such size"})


def test_429_says_how_long_to_wait(build: Build, services: FakeServices) -> None:
    services.misbehave("telegram", Status(429, headers={"Retry-After": "17"}))
    with pytest.raises(RateLimitError) as limited:
        build().call("POST", "/sendMessage", accept=range(400, 500))
    assert limited.value.retry_after == 17


@pytest.mark.parametrize(
    ("header", "seconds"),
    [
        ("17", 17),
        ("1.5", 1.5),
        ("0", 1),
        ("999999", 3600),
        ("9" * 400, 3600),
        ("-5", 60),
        ("soon", 60),
        ("", 60),
        (None, 60),
        ("nan", 60),
        (format_datetime(datetime(2025, 1, 1, 12, 0, 30, tzinfo=UTC), usegmt=True), 30),
        (format_datetime(datetime(2024, 1, 1, tzinfo=UTC), usegmt=True), 1),
        ("Wed, 01 Jan 2025 12:00:40 -0000", 40),
    ],
)
def test_retry_after_is_read_as_seconds_or_date(header: str | None, seconds: float) -> None:
    assert read_retry_after(header, datetime(2025, 1, 1, 12, tzinfo=UTC)) == seconds


def test_a_date_far_ahead_waits_an_hour_at_most() -> None:
    now = datetime(2025, 1, 1, tzinfo=UTC)
    assert read_retry_after(format_datetime(now + timedelta(days=9), usegmt=True), now) == 3600


def test_a_refused_connection_was_surely_not_sent(build: Build) -> None:
    with pytest.raises(ExternalServiceError) as failed:
        ask(build(NOWHERE))
    assert not isinstance(failed.value, OutcomeUnknownError)


def test_a_host_without_an_address_was_surely_not_sent(build: Build) -> None:
    with pytest.raises(ExternalServiceError) as failed:
        ask(build("http://no-such-host.invalid"))
    assert not isinstance(failed.value, OutcomeUnknownError)


LOST_ANSWERS = [
    pytest.param(Hang(), id="hang"),
    pytest.param(Reset(applied=True), id="reset after the effect"),
    pytest.param(Reset(applied=False), id="reset before the effect"),
    pytest.param(SlowBytes(), id="dripping body"),
    pytest.param(SlowBytes(headers=True), id="dripping headers"),
    pytest.param(Garbage(), id="garbage"),
]


@pytest.mark.parametrize("how", LOST_ANSWERS)
def test_a_lost_answer_leaves_the_outcome_unknown(
    build: Build, services: FakeServices, how: Misbehaviour
) -> None:
    services.misbehave("telegram", how)
    began = time.monotonic()
    with pytest.raises(OutcomeUnknownError):
        ask(build(timeout=0.3))
    assert time.monotonic() - began < 1


@pytest.mark.parametrize("how", LOST_ANSWERS)
def test_a_lost_answer_to_an_idempotent_call_is_only_a_failure(
    build: Build, services: FakeServices, how: Misbehaviour
) -> None:
    services.misbehave("telegram", how)
    with pytest.raises(ExternalServiceError) as failed:
        ask(build(timeout=0.3), idempotent=True)
    assert not isinstance(failed.value, OutcomeUnknownError)


def test_a_reset_of_a_kept_connection_is_not_sent_again(
    build: Build, services: FakeServices
) -> None:
    service = build()
    ask(service, "first")
    services.misbehave("telegram", Reset(applied=True))
    with pytest.raises(OutcomeUnknownError):
        ask(service, "second")
    assert services.sent(7) == ["first", "second"]


@pytest.mark.parametrize("how", [Hang(), SlowBytes(), SlowBytes(headers=True)])
def test_the_deadline_of_the_work_ends_the_request(
    build: Build, services: FakeServices, how: Misbehaviour
) -> None:
    services.misbehave("telegram", how)
    began = time.monotonic()
    with deadline_in(0.3), pytest.raises(SoftTimeLimitExceeded):
        ask(build(timeout=30))
    assert 0.25 < time.monotonic() - began < 1


def test_after_the_deadline_nothing_is_sent(build: Build, services: FakeServices) -> None:
    with deadline_in(0), pytest.raises(SoftTimeLimitExceeded):
        ask(build())
    assert services.requests() == []


def test_its_own_timeout_is_no_soft_limit(build: Build, services: FakeServices) -> None:
    services.misbehave("telegram", Hang())
    with deadline_in(30), pytest.raises(OutcomeUnknownError):
        ask(build(timeout=0.2))


@pytest.mark.alone
def test_a_server_that_takes_no_bytes_cannot_hold_the_request(build: Build) -> None:
    with socket.create_server(("127.0.0.1", 0)) as deaf:
        service = build(f"http://127.0.0.1:{deaf.getsockname()[1]}", timeout=5)
        # It never takes more than the buffers of the sockets, so the request would never end.
        with pytest.raises(OutcomeUnknownError, match="WriteTimeout"):
            ask(service, "x" * 30_000_000)


class SlowStream(httpcore.NetworkStream):
    """Takes a tenth of a second for whatever it is given."""

    def __init__(self) -> None:
        self.taken: list[bytes] = []

    def write(self, buffer: bytes, timeout: float | None = None) -> None:
        self.taken.append(buffer)
        time.sleep(0.1)


def test_a_server_that_sips_cannot_hold_the_request() -> None:
    slow, content = SlowStream(), bytes(10_000_000)
    with request_deadline(time.monotonic() + 0.15), pytest.raises(httpcore.WriteTimeout):
        BoundedStream(slow).write(content)
    assert 0 < sum(map(len, slow.taken)) < 200_000


def test_a_large_request_arrives_whole(build: Build, services: FakeServices) -> None:
    text = "слово " * 100_000
    build().call("POST", "/sendMessage", json={"chat_id": 7, "text": text}, accept=[400])
    assert services.requests()[0].body["text"] == text


def test_waiting_for_a_free_connection_is_bounded_and_surely_not_sent(
    build: Build, services: FakeServices
) -> None:
    services.misbehave("telegram", Hang())
    service = build(connections=1)
    holder = threading.Thread(target=ask, args=(service,))
    holder.start()
    services.wait_until(lambda: len(services.requests()) == 1)
    with pytest.raises(ExternalServiceError) as failed:
        service.call("POST", "/sendMessage", timeout=0.2)
    assert not isinstance(failed.value, OutcomeUnknownError)
    services.release()
    holder.join()


def test_after_five_failures_in_a_row_a_service_is_left_alone(
    build: Build, services: FakeServices
) -> None:
    services.misbehave("telegram", Status(503), times=None)
    service = build()
    for _ in range(5):
        with pytest.raises(ExternalServiceError, match="answered 503"):
            ask(service)
    with pytest.raises(OutageError, match="crm fails: 503") as outage:
        ask(service)
    assert outage.value.setting is None
    assert len(services.requests()) == 5


def test_a_service_that_another_process_has_found_well_is_asked_again(
    build: Build, services: FakeServices
) -> None:
    services.misbehave("telegram", Status(503), times=5)
    service = build()
    for _ in range(5):
        with pytest.raises(ExternalServiceError):
            ask(service)
    with pytest.raises(OutageError) as outage:
        ask(service)
    outage.value.forget()
    assert ask(service).status == 200


def test_a_service_whose_work_is_held_has_no_trial_beside_the_probe(
    build: Build, services: FakeServices, monkeypatch: pytest.MonkeyPatch
) -> None:
    services.misbehave("telegram", Status(503), times=5)
    service = build()
    for _ in range(5):
        with pytest.raises(ExternalServiceError):
            ask(service)
    monkeypatch.setattr("mirt.http.breaker.Breaker.wait_s", lambda _: 0)
    context = copy_context()
    context.run(service_calls.begin, held={"crm"})
    with pytest.raises(OutageError):
        context.run(ask, service)
    context.run(service_calls.begin, probe="crm", held={"crm"})
    assert context.run(ask, service).status == 200


def test_lost_answers_open_the_breaker_too(build: Build, services: FakeServices) -> None:
    services.misbehave("telegram", Reset(), times=None)
    service = build()
    for _ in range(5):
        with pytest.raises(OutcomeUnknownError):
            ask(service)
    with pytest.raises(OutageError, match=r"crm fails: \w+Error"):
        ask(service)


@pytest.mark.parametrize("how", [Status(400), Status(404), TooMany(1), Garbage()])
def test_answers_that_are_our_own_fault_never_open_the_breaker(
    build: Build, services: FakeServices, how: Misbehaviour
) -> None:
    services.misbehave("telegram", how, times=20)
    service = build()
    for _ in range(20):
        with pytest.raises(WorkerError):
            ask(service)
    assert ask(service).status == 200


def test_without_a_breaker_every_call_is_made(build: Build, services: FakeServices) -> None:
    services.misbehave("telegram", Status(503), times=20)
    service = build(breaker=False)
    for _ in range(20):
        with pytest.raises(ExternalServiceError):
            ask(service)
    assert ask(service).status == 200


class TestBreaker:
    """With a clock that the test moves."""

    def setup_method(self) -> None:
        self.now = 0.0
        self.breaker = Breaker(limit=2, pause=10, monotonic=lambda: self.now)

    def test_a_success_between_failures_keeps_it_closed(self) -> None:
        self.breaker.failed()
        self.breaker.heard()
        self.breaker.failed()
        assert self.breaker.wait_s() == 0

    def test_an_open_breaker_grants_one_trial_in_each_pause(self) -> None:
        self.breaker.failed()
        self.breaker.failed()
        assert self.breaker.wait_s() == 10
        self.now = 10
        assert [self.breaker.wait_s(), self.breaker.wait_s()] == [0, 10]
        self.now = 20
        assert self.breaker.wait_s() == 0, "a trial without an outcome costs one pause only"

    def test_one_refusal_of_our_account_opens_it(self) -> None:
        self.breaker.refused(Cause("402", "no credits", "LLM_API_KEY"))
        assert self.breaker.wait_s() == 10
        assert self.breaker.cause.setting == "LLM_API_KEY"

    def test_the_silence_of_the_service_is_measured(self) -> None:
        assert self.breaker.silent_s == inf
        self.breaker.heard()
        self.now = 7
        self.breaker.failed()
        self.now = 9
        assert (self.breaker.silent_s, self.breaker.failed_s_ago) == (9, 2)

    def test_a_trial_that_succeeds_closes_it(self) -> None:
        self.breaker.failed()
        self.breaker.failed()
        self.now = 10
        self.breaker.wait_s()
        self.breaker.heard()
        assert [self.breaker.wait_s(), self.breaker.wait_s()] == [0, 0]


FAULTS = [
    pytest.param(Status(401, {"error": f"bad token {TOKEN}"}), id="401"),
    pytest.param(Status(503, {"error": f"/bot{TOKEN} is broken"}), id="503"),
    pytest.param(Status(302, headers={"Location": f"/bot{TOKEN}"}), id="302"),
    pytest.param(TooMany(3), id="429"),
    *LOST_ANSWERS,
]


def assert_tells_no_secret(error: BaseException, logged: str) -> None:
    seen: list[BaseException | None] = [error, error.__cause__, error.__context__]
    told = [f"{one!r} {one} {vars(one) if one else ''}" for one in seen]
    told += [logged, "".join(traceback.format_exception(error))]
    assert not [text for text in told if TOKEN in text or KEY in text or "very-secret" in text]
    assert error.__context__ is None, "the client's error holds the URL and the headers"


@pytest.mark.parametrize("fault", FAULTS)
def test_no_failure_tells_a_secret(
    build: Build, services: FakeServices, caplog: pytest.LogCaptureFixture, fault: Misbehaviour
) -> None:
    caplog.set_level(logging.DEBUG)
    services.misbehave("telegram", fault)
    with pytest.raises(WorkerError) as failed:
        ask(build(timeout=0.3))
    assert_tells_no_secret(failed.value, caplog.text)


@pytest.mark.parametrize(
    "base_url", [NOWHERE, "http://no-such-host.invalid", "ftp://127.0.0.1", "http://[", "127.0.0.1"]
)
def test_no_failure_to_connect_tells_a_secret(
    build: Build, caplog: pytest.LogCaptureFixture, base_url: str
) -> None:
    caplog.set_level(logging.DEBUG)
    with pytest.raises(WorkerError) as failed:
        ask(build(base_url))
    assert_tells_no_secret(failed.value, caplog.text)


def test_the_deadline_tells_no_secret(
    build: Build, services: FakeServices, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    services.misbehave("telegram", Hang())
    with deadline_in(0.2), pytest.raises(SoftTimeLimitExceeded) as failed:
        ask(build())
    assert_tells_no_secret(failed.value, caplog.text)


def test_a_success_logs_no_secret(build: Build, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    answer = ask(build(), "a customer's words")
    assert "very-secret" not in caplog.text
    assert "a customer's words" not in caplog.text + repr(answer)


def test_a_key_that_no_header_can_carry_is_refused_without_being_told(
    services: FakeServices,
) -> None:
    service = ExternalService(
        "crm",
        services.url,
        headers={"Authorization": SecretStr("Bearer very\nsecret")},
        timeout=1,
        refusal_code=ErrorCode.CRM_REJECTED,
    )
    with closing(service), pytest.raises(OutageError, match="cannot be used") as refused:
        service.call("GET", "/api/orders")
    assert "secret" not in str(refused.value)
    assert refused.value.__context__ is None


def test_a_secret_that_is_repeated_in_an_answer_is_masked(
    build: Build, services: FakeServices
) -> None:
    services.misbehave("telegram", Status(403, {"description": f"bot {TOKEN} was blocked"}))
    answer = build().call("POST", "/sendMessage", accept=[403])
    assert answer.body == {"description": "bot *** was blocked"}


def test_a_deeply_nested_answer_counts_as_no_json(build: Build, services: FakeServices) -> None:
    services.misbehave("telegram", Status(200, b"[" * 200_000))
    with pytest.raises(OutcomeUnknownError, match="without JSON"):
        ask(build())
