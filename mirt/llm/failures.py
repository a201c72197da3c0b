"""Turn an error of an LLM server into one of ours: of its status, its code and its words.

OpenAI's API answers ``{"error": {"message", "type", "param", "code"}}`` with a status of 4xx or
5xx. OpenRouter answers 200 as soon as a model has begun, and puts a later error into the body or
beside the choice; its ``metadata.raw`` holds what the provider said. Other servers have forms of
their own. An error within a 200 is judged as its code would be as a status.
"""

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final

from mirt import clock
from mirt.errors import (
    ErrorCode,
    ExternalServiceError,
    PermanentError,
    PromptRefusedError,
    RateLimitError,
)
from mirt.http import Answer, Refusal
from mirt.http.answer import UNNAMED, bounded, read_retry_after
from mirt.llm.body import at, storable

_LONGEST_REASON: Final = 300
_TRANSIENT: Final = frozenset({408, 409, 425})
"""Statuses of 4xx after which the same request can succeed."""

_STATUS_OF_CODE: Final[Mapping[str, int]] = {
    "rate_limit_exceeded": 429,
    "rate_limit_error": 429,
    "too_many_requests": 429,
    "resource_exhausted": 429,
    "insufficient_quota": 429,
    "payment_required": 402,
    "insufficient_credits": 402,
    "insufficient_balance": 402,
    "authentication": 401,
    "authentication_error": 401,
    "invalid_api_key": 401,
    "invalidapikey": 401,
    "unauthenticated": 401,
    "permission_denied": 403,
    "permission_error": 403,
    "not_found": 404,
    "not_found_error": 404,
    "model_not_found": 404,
    "invalid_request": 400,
    "invalid_request_error": 400,
    "invalid_argument": 400,
    "invalid_prompt": 400,
    "context_length_exceeded": 400,
    "exceed_context_size_error": 400,
    "string_too_long": 400,
    "token_limit_exceeded": 400,
    "payload_too_large": 413,
    "request_too_large": 413,
    "unprocessable": 422,
    "content_filter": 400,
    "content_policy_violation": 400,
    "data_inspection_failed": 400,
    "datainspectionfailed": 400,
    "refusal": 400,
    "1261": 400,
    "1301": 400,
}
"""The status that a code in words has. Any other code counts as 500: another attempt may help."""

_TOO_LONG: Final = re.compile(
    r"context[ _-]?(?:length|window|size|limit)|maximum context|string_(?:too|above_max)_l"
    r"|(?:prompt|input|request|messages?|payload)(?: is| are|_is)?[ _]too[ _](?:long|large)"
    r"|prompt exceeds|prompt 超长|max(?:imum)? (?:prompt|input) length|range of input length"
    r"|too many (?:\w+ )?tokens|token[ _]limit[ _]exceed|exceed\w* [^.]{0,40}token|tokens? exceed"
    r"|sequence length|string too long|reduce the (?:length|number|prompt)"
    r"|max_new_tokens` must be|current length is .* while limit is|\b1261\b",
    re.DOTALL,
)
_FLAGGED: Final = re.compile(
    r"content[ _-]?(?:filter|policy|management|moderation)|responsibleaipolicy|moderat|flagged"
    r"|safety system|usage polic|data_?inspection_?failed|inappropriate content|invalid_prompt"
    r"|\brefusal\b|(?<!case[- ])\bsensitive\b|\b1301\b"
)
_UNWANTED: Final = re.compile(
    r"unsupported|not (?:support|permit|allow|compatible)|n't support|unknown|unrecogni[sz]ed"
    r"|unexpected|extra|deprecated|only the default|invalid|must be|too large|at most",
)
_PARAMETERS: Final = ("max_completion_tokens", "max_tokens", "temperature")
_NO_TOOLS: Final = re.compile(
    r"support tool|support (?:function|tool)|tool[ _]?(?:use|call\w*|choice)\W.*(?:support|require)"
    r"|does not support tools",
    re.DOTALL,
)
_SAMPLED: Final = frozenset({"tool_use_failed", "json_validate_failed", "output_parse_failed"})
"""Codes of Groq for what a model has written: the next attempt may write something else."""


class ParameterRefusedError(PermanentError):
    """The model takes no such parameter, or not with this value.

    ``instead`` is the name of the parameter that the server wants in its place, or None.
    """

    def __init__(self, message: str, name: str, instead: str | None) -> None:
        super().__init__(message, ErrorCode.LLM_REFUSED)
        self.name = name
        self.instead = instead


@dataclass(frozen=True, slots=True)
class Failure:
    """An error as a server has written it: the status that counts, its reason, all its words."""

    status: int
    reason: str
    code: str
    words: str
    parameter: str | None
    is_flagged: bool

    @classmethod
    def read(
        cls, error: Any, status: int | None = None, *, hide: Callable[[str], str] = str
    ) -> "Failure":
        """Read an error object, a text, or a list of them; ``status`` of the answer, if not 200.

        ``hide`` is ``Answer.without_quotes``: the reason is a text that may be logged.
        """
        while isinstance(error, list) and error:
            error = error[0]
        metadata = at(error, "metadata")
        texts = [
            one
            for one in (
                error,
                *(at(error, key) for key in ("message", "msg", "error_msg", "detail")),
                at(metadata, "raw"),
                at(metadata, "error_type"),
            )
            if isinstance(one, str) and one
        ]
        codes = [
            str(code).lower()
            for code in (
                at(metadata, "error_type"),
                at(error, "code"),
                at(error, "type"),
                at(error, "status"),
                at(error, "error_code"),
                at(error, "innererror", "code"),
            )
            if isinstance(code, str | int)
        ]
        located = at(error, "detail", 0, "loc")
        parameter = at(error, "param")
        if isinstance(located, list) and located:
            parameter = located[-1]
            texts.append(str(at(error, "detail", 0, "msg")))
        return cls(
            status or _status(codes),
            hide(storable(": ".join(dict.fromkeys(texts))))[:_LONGEST_REASON] or "no reason given",
            next((code for code in codes if not code.isdigit()), ""),
            " ".join([*codes, *texts]).lower(),
            parameter if isinstance(parameter, str) else None,
            at(metadata, "reasons") is not None or at(metadata, "flagged_input") is not None,
        )

    @classmethod
    def read_body(cls, body: Any, status: int, *, hide: Callable[[str], str] = str) -> "Failure":
        """Read the body of an answer with a status of 4xx."""
        body = at(body, 0) if isinstance(body, list) else body
        return cls.read(at(body, "error") or body, status, hide=hide)

    def __str__(self) -> str:
        return f"{self.status} {self.reason}"

    def error(self, headers: Mapping[str, str]) -> Exception:
        """Return our error; its class says what happens next.

        - 429: ``RateLimitError``, no sooner than ``Retry-After``.
        - 408, 409, 425, 5xx, and what a model has written wrongly: ``ExternalServiceError``.
        - Too long, or flagged: ``PromptRefusedError``, since other messages may be taken.
        - A parameter: ``ParameterRefusedError``. Everything else: ``PermanentError``.
        """
        said = str(self)
        if self.status == 429:
            return RateLimitError(f"llm: {said}", _wait(headers))
        if self.status in _TRANSIENT or self.status >= 500 or self.code in _SAMPLED:
            return ExternalServiceError("llm", said)
        if self._is_too_long():
            return PromptRefusedError(f"llm: {said}", keep=0.5)
        if self._is_about_the_text():
            return PromptRefusedError(f"llm: {said}", keep=0.0)
        if name := self._refused_parameter():
            is_renamed = name == "max_tokens" and "max_completion_tokens" in self.words
            instead = "max_completion_tokens" if is_renamed else None
            return ParameterRefusedError(f"llm: {said}", name, instead)
        if self.status in {400, 404, 422} and _NO_TOOLS.search(self.words):
            said += "; set LLM_TOOLS=false or another LLM_MODEL"
        return PermanentError(f"llm: {said}", ErrorCode.LLM_REFUSED)

    @property
    def is_about_the_account(self) -> bool:
        """Whether every request would be refused: for the key, its rights or the credits."""
        is_refused = self.status in {401, 402} or (
            self.status == 403 and not self._is_about_the_text()
        )
        return is_refused or "insufficient_quota" in self.words

    @property
    def is_of_the_service(self) -> bool:
        """Whether the server or its provider has failed, whatever the request was."""
        return self.status >= 500 and self.code not in _SAMPLED

    def _is_too_long(self) -> bool:
        if self.parameter in _PARAMETERS and "context" not in self.words:
            return False
        return self.status == 413 or (
            self.status in {400, 422} and _TOO_LONG.search(self.words) is not None
        )

    def _is_about_the_text(self) -> bool:
        return self.status in {400, 403, 422, 451} and (
            self.is_flagged or _FLAGGED.search(self.words) is not None
        )

    def _refused_parameter(self) -> str | None:
        if self.status not in {400, 404, 422}:
            return None
        if self.parameter in _PARAMETERS:
            return self.parameter
        if not _UNWANTED.search(self.words):
            return None
        named = [(self.words.find(name), name) for name in _PARAMETERS if name in self.words]
        return min(named)[1] if named else None


def error_in(body: Any) -> Any:
    """Return the error that the body of a 200 holds; None if it holds none."""
    if isinstance(body, list):
        body = at(body, 0)
    error = at(body, "error") or at(body, "errors")
    # Some gateways put an error of nothing, with the code 0, beside every answer.
    if error and not (isinstance(error, dict) and not any(error.values())):
        return error
    if at(body, "base_resp", "status_code"):  # MiniMax
        return {"message": at(body, "base_resp", "status_msg")}
    if "error" in (at(body, "object"), at(body, "type")):
        return body
    said = any(at(body, key) for key in ("message", "detail", "error_msg", "msg"))
    return body if said and not at(body, "choices") else None


def account_refusal(answer: Answer) -> Refusal | None:
    """Return the refusal of our key or account that an answer is, or holds; None if it is none."""
    if answer.status >= 400:
        failures = [Failure.read_body(answer.body, answer.status, hide=answer.without_quotes)]
    else:
        choice = at(answer.body, "choices", 0)
        errors = (error_in(answer.body), at(choice, "error"), at(choice, "message", "error"))
        failures = [Failure.read(error, hide=answer.without_quotes) for error in errors if error]
    found = next((one for one in failures if one.is_about_the_account), None)
    return None if found is None else Refusal(str(found.status), found.reason)


def _status(codes: list[str]) -> int:
    for code in codes:
        if code.isascii() and code.isdigit() and len(code) == 3 and 400 <= int(code) <= 599:
            return int(code)
    return next((_STATUS_OF_CODE[code] for code in codes if code in _STATUS_OF_CODE), 500)


def _wait(headers: Mapping[str, str]) -> float:
    named = headers.get("retry-after")
    return bounded(UNNAMED) if named is None else read_retry_after(named, clock.utc_now())
