"""Errors as callers catch them by class, and what they read from them."""

import pytest

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
    WorkerError,
)

RETRYABLE = [
    RetryableError("m"),
    RateLimitError("m", retry_after=7),
    ExternalServiceError("crm", "m"),
    OutcomeUnknownError("crm", "m"),
    DatabaseError("m"),
    BrokerUnavailableError("m"),
]
FINAL = [PermanentError("m", "CODE"), SoftTimeLimitExceeded(), LeaseLostError("m")]


def name(error: Exception) -> str:
    return type(error).__name__


@pytest.mark.parametrize("error", [*RETRYABLE, *FINAL], ids=name)
def test_whoever_catches_the_root_catches_all_and_reads_the_message(error: Exception) -> None:
    assert isinstance(error, WorkerError)
    assert error.message == str(error)


@pytest.mark.parametrize("error", RETRYABLE, ids=name)
def test_an_error_that_may_pass_is_retryable_and_not_permanent(error: Exception) -> None:
    assert isinstance(error, RetryableError)
    assert not isinstance(error, PermanentError)


@pytest.mark.parametrize("error", FINAL, ids=name)
def test_a_final_error_is_not_retryable(error: Exception) -> None:
    assert not isinstance(error, RetryableError)


def test_an_outcome_that_is_unknown_is_a_failure_of_the_service() -> None:
    error = OutcomeUnknownError("crm", "no answer")
    assert isinstance(error, ExternalServiceError)
    assert (error.service, str(error), error.message) == ("crm", "crm: no answer", str(error))


def test_a_rate_limit_that_names_no_time_is_a_minute() -> None:
    assert RateLimitError("429").retry_after == 60


def test_a_permanent_error_needs_no_code() -> None:
    assert PermanentError("m").error_code is None
    assert PermanentError("m", ErrorCode.CRM_REJECTED).error_code == "CRM_REJECTED"


def test_a_code_is_written_as_its_name() -> None:
    assert [str(code) for code in ErrorCode] == [code.name for code in ErrorCode]
