"""The class of an error and the task's row decide about a retry, never the error's text."""

from datetime import timedelta
from typing import Any

import pytest

from middleware.policy import TaskPolicy
from middleware.retries import Bury, Decision, Drop, Hold, Patience, Retry, decide
from mirt.errors import (
    BrokerUnavailableError,
    CooldownError,
    DatabaseError,
    ErrorCode,
    ExternalServiceError,
    LeaseLostError,
    OutageError,
    OutcomeUnknownError,
    PermanentError,
    RateLimitError,
    RetryableError,
    SoftTimeLimitExceeded,
)
from mirt.store.queue.holds import Outage
from mirt.store.queue.leases import Lease
from tests.clock import NOON

PATIENCE_S = 3600.0
POLICY = TaskPolicy("task", "queue", soft_s=25, hard_s=30, retries=5, max_backoff_s=60)


class Jitter:
    """Picks the longest pause (or the shortest), and remembers what it was offered."""

    def __init__(self, share: float = 1) -> None:
        self.share = share
        self.offered: list[float] = []

    def __call__(self, longest: float) -> float:
        self.offered.append(longest)
        return longest * self.share


def decided(
    error: BaseException,
    *,
    jitter: Jitter | None = None,
    holds: bool = True,
    may_continue: bool = False,
    **of_task: Any,
) -> Decision:
    """Decide at noon about a task that is a minute old."""
    task = {"created_at": NOON - timedelta(minutes=1), **of_task}
    return decide(
        error,
        Lease("task 1", "worker", 1, **task),
        now=NOON,
        policy=POLICY,
        patience=Patience(PATIENCE_S, holds=holds),
        base_s=10,
        jitter=jitter or Jitter(),
        may_continue=may_continue,
    )


@pytest.mark.parametrize(
    "error",
    [
        RetryableError("later"),
        DatabaseError("away"),
        BrokerUnavailableError("away"),
        ExternalServiceError("crm", "502"),
        OutcomeUnknownError("telegram", "no answer"),
    ],
    ids=lambda error: type(error).__name__,
)
def test_an_error_that_may_pass_is_tried_again_while_attempts_are_left(
    error: RetryableError,
) -> None:
    assert decided(error, attempt=4) == Retry(delay_s=60, attempt=5, waited_s=0)
    assert decided(error, attempt=5) == Bury(ErrorCode.RETRIES_EXHAUSTED)


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (PermanentError("no", ErrorCode.CHANNEL_REFUSED), "CHANNEL_REFUSED"),
        (PermanentError("no", "A_CODE_OF_ITS_OWN"), "A_CODE_OF_ITS_OWN"),
        (PermanentError("no"), "INVALID_INPUT"),
        (SoftTimeLimitExceeded(), "TIME_LIMIT"),
        (KeyError("session_id"), "UNEXPECTED"),
        (TimeoutError("not one of ours"), "UNEXPECTED"),
        (KeyboardInterrupt(), "UNEXPECTED"),
    ],
)
def test_an_error_that_stays_is_a_dead_letter_at_once(error: BaseException, code: str) -> None:
    assert decided(error) == Bury(code)


@pytest.mark.parametrize(
    "error", [SoftTimeLimitExceeded(), PermanentError("hard limit", ErrorCode.TIME_LIMIT)]
)
def test_a_limit_that_stored_work_has_met_allows_one_attempt_more(error: BaseException) -> None:
    assert decided(error, may_continue=True) == Retry(10, 1, 0)
    assert decided(error, may_continue=True, attempt=5) == Retry(60, 6, 0)
    assert decided(error, may_continue=True, attempt=6) == Bury(ErrorCode.TIME_LIMIT)


def test_work_that_another_worker_has_is_dropped() -> None:
    assert decided(LeaseLostError("task 1")) == Drop()


def test_the_pause_doubles_up_to_the_policys() -> None:
    jitter = Jitter()
    for attempt in range(5):
        decided(RetryableError("later"), attempt=attempt, jitter=jitter)
    assert jitter.offered == [10, 20, 40, 60, 60]


def test_the_jitter_is_full_and_alone_says_how_long_the_pause_is() -> None:
    assert decided(RetryableError("later"), jitter=Jitter(0)) == Retry(0, 1, 0)
    assert decided(RetryableError("later"), jitter=Jitter(0.3)) == Retry(3, 1, 0)


def test_a_wait_that_was_asked_for_is_no_attempt() -> None:
    error = RateLimitError("429", retry_after=30)
    found = decided(error, attempt=5, waited_s=100, jitter=Jitter(0))
    assert isinstance(found, Retry)
    assert (found.attempt, found.waited_s) == (5, 130)


@pytest.mark.parametrize(("asked", "spread"), [(4.0, 0.4), (30.0, 0.5)])
def test_a_wait_is_as_long_as_asked_and_half_a_second_more_at_most(
    asked: float, spread: float
) -> None:
    error, jitter = RateLimitError("429", retry_after=asked), Jitter()
    assert decided(error, jitter=Jitter(0)) == Retry(asked, 0, round(asked))
    found = decided(error, jitter=jitter)
    assert isinstance(found, Retry)
    assert found.delay_s == asked + spread
    assert jitter.offered == [spread]


def test_a_task_that_is_asked_to_wait_again_and_again_comes_back_ever_more_rarely() -> None:
    waited_s, times = 0, 0
    while waited_s < 3600:
        found = decided(CooldownError("our own pace", 1), waited_s=waited_s, jitter=Jitter(0.5))
        assert isinstance(found, Retry)
        assert 1 <= found.delay_s <= 62
        waited_s, times = found.waited_s, times + 1
    assert times <= 150


def test_waits_longer_than_the_patience_count_as_attempts() -> None:
    error = RateLimitError("429", retry_after=60)
    assert decided(error, waited_s=3540, jitter=Jitter(0)) == Retry(60, 0, 3600)
    assert decided(error, waited_s=3600) == Retry(60, 1, 3600)
    assert decided(error, waited_s=3600, attempt=5) == Bury("RETRIES_EXHAUSTED")


def test_a_wait_beyond_the_patience_is_an_attempt_and_still_no_sooner_than_asked() -> None:
    error = RateLimitError("come back tomorrow", retry_after=86_400)
    assert decided(error) == Retry(86_400, 1, 0)


REFUSED = OutageError("llm", "Insufficient credits", code="402", setting="LLM_API_KEY")
DOWN = OutageError("llm", "", code="503", failed_s_ago=2)


@pytest.mark.parametrize(
    ("error", "outage", "failed_s_ago"),
    [
        (REFUSED, Outage("llm", "402", "Insufficient credits", "LLM_API_KEY"), 0),
        (DOWN, Outage("llm", "503", "", None), 2),
    ],
)
def test_an_outage_holds_the_task_and_is_no_attempt(
    error: OutageError, outage: Outage, failed_s_ago: int
) -> None:
    found = decided(error, attempt=5)
    failed_at = NOON - timedelta(seconds=failed_s_ago)
    assert found == Hold(outage, failed_at, attempt=0, otherwise=Retry(2, 5, 1))


def test_failures_after_the_first_outage_of_a_task_stay_attempts() -> None:
    found = decided(DOWN, attempt=2, held_since=NOON - timedelta(minutes=5))
    assert isinstance(found, Hold)
    assert found.attempt == 2


def test_the_patience_for_outages_is_a_time() -> None:
    for ago_s, is_over in [(PATIENCE_S - 1, False), (PATIENCE_S, True)]:
        found = decided(DOWN, held_since=NOON - timedelta(seconds=ago_s))
        assert (found == Bury(ErrorCode.OUTAGE)) == is_over


def test_without_workers_an_outage_is_an_attempt() -> None:
    assert decided(DOWN, holds=False, attempt=4) == Retry(60, 5, 0)
    assert decided(DOWN, holds=False, attempt=5) == Bury(ErrorCode.OUTAGE)


def last_failure(silent_s: float) -> ExternalServiceError:
    return ExternalServiceError("llm", "answered 503", silent_s=silent_s)


def test_the_last_attempt_at_a_service_that_answers_nobody_may_be_an_outage() -> None:
    found = decided(last_failure(silent_s=60), attempt=5)
    since = NOON - timedelta(minutes=1)
    outage = Outage("llm", "", "answered 503")
    assert found == Hold(outage, since, attempt=0, otherwise=Bury("RETRIES_EXHAUSTED"))


@pytest.mark.parametrize(
    ("silent_s", "of_task"),
    [
        (59, {}),
        (0, {}),
        (60, {"held_since": NOON - timedelta(seconds=30)}),
    ],
    ids=["it answered another task", "it has just answered", "the task was held before"],
)
def test_the_last_attempt_that_fails_for_one_task_alone_is_a_dead_letter(
    silent_s: float, of_task: dict[str, Any]
) -> None:
    assert decided(last_failure(silent_s), attempt=5, **of_task) == Bury("RETRIES_EXHAUSTED")


@pytest.mark.parametrize(
    "text", ["rate limit exceeded", "429 Too Many Requests", "failed to generate", "timeout"]
)
def test_the_text_of_an_error_decides_nothing(text: str) -> None:
    assert decided(PermanentError(text)) == Bury(ErrorCode.INVALID_INPUT)
    assert decided(ValueError(text)) == Bury(ErrorCode.UNEXPECTED)
    assert decided(RetryableError(text)) == Retry(10, 1, 0)
    assert decided(LeaseLostError(text)) == Drop()
    assert decided(RateLimitError(text, retry_after=1), jitter=Jitter(0)) == Retry(1, 0, 1)


def test_the_error_itself_counts_and_not_its_cause() -> None:
    error = PermanentError("the reply cannot be read")
    error.__cause__ = RetryableError("502")
    assert decided(error) == Bury(ErrorCode.INVALID_INPUT)
