"""The class of an error and the task's row decide about a retry, never the error's text."""

import pytest

from middleware.policy import TaskPolicy
from middleware.retries import LONGEST_WAIT_S, Bury, Decision, Drop, Retry, decide
from mirt.errors import (
    BrokerUnavailableError,
    DatabaseError,
    ErrorCode,
    ExternalServiceError,
    LeaseLostError,
    OutcomeUnknownError,
    PermanentError,
    RateLimitError,
    RetryableError,
    SoftTimeLimitExceeded,
)

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
    attempt: int = 0,
    waited_s: int = 0,
    jitter: Jitter | None = None,
    may_continue: bool = False,
) -> Decision:
    return decide(
        error,
        attempt=attempt,
        waited_s=waited_s,
        policy=POLICY,
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
    found = decided(RateLimitError("429", retry_after=30), attempt=5, waited_s=100)
    assert isinstance(found, Retry)
    assert (found.attempt, found.waited_s) == (5, 130)


@pytest.mark.parametrize(("asked", "spread"), [(30.0, 10), (2.0, 2)])
def test_a_wait_is_never_shorter_than_asked_and_spread_a_little(asked: float, spread: int) -> None:
    error, jitter = RateLimitError("429", retry_after=asked), Jitter()
    assert decided(error, jitter=Jitter(0)) == Retry(asked, 0, round(asked))
    assert decided(error, jitter=jitter) == Retry(asked + spread, 0, round(asked))
    assert jitter.offered == [spread]


def test_waits_of_more_than_an_hour_in_all_count_as_attempts() -> None:
    error = RateLimitError("429", retry_after=60)
    assert decided(error, waited_s=LONGEST_WAIT_S - 60) == Retry(70, 0, LONGEST_WAIT_S)
    assert decided(error, waited_s=LONGEST_WAIT_S) == Retry(60, 1, LONGEST_WAIT_S)
    assert decided(error, waited_s=LONGEST_WAIT_S, attempt=5) == Bury("RETRIES_EXHAUSTED")


def test_a_wait_beyond_an_hour_is_an_attempt_and_still_no_sooner_than_asked() -> None:
    error = RateLimitError("come back tomorrow", retry_after=86_400)
    assert decided(error) == Retry(86_400, 1, 0)


@pytest.mark.parametrize(
    "text", ["rate limit exceeded", "429 Too Many Requests", "failed to generate", "timeout"]
)
def test_the_text_of_an_error_decides_nothing(text: str) -> None:
    assert decided(PermanentError(text)) == Bury(ErrorCode.INVALID_INPUT)
    assert decided(ValueError(text)) == Bury(ErrorCode.UNEXPECTED)
    assert decided(RetryableError(text)) == Retry(10, 1, 0)
    assert decided(LeaseLostError(text)) == Drop()
    assert decided(RateLimitError(text, retry_after=1)) == Retry(2, 0, 1)


def test_the_error_itself_counts_and_not_its_cause() -> None:
    error = PermanentError("the reply cannot be read")
    error.__cause__ = RetryableError("502")
    assert decided(error) == Bury(ErrorCode.INVALID_INPUT)
