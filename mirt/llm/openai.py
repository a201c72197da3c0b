"""Ask a model behind an OpenAI-compatible API: OpenAI, OpenRouter, and most others.

What servers answer is read in ``mirt.llm.completions`` and ``mirt.llm.failures``;
tests/unit/llm/test_shapes.py lists the known shapes, with what happens after each.
"""

from base64 import b64encode
from collections.abc import Sequence
from dataclasses import replace
from typing import Any, Final
from urllib.parse import urlsplit

import structlog
from pydantic import SecretStr

from mirt.errors import ErrorCode, PermanentError, PromptRefusedError
from mirt.http import CHECK_S, Answer, ExternalService, ServiceReport, SettingNames
from mirt.llm import prompts
from mirt.llm.body import at
from mirt.llm.completions import CutOffError, Usage, read_completion, service_failure
from mirt.llm.failures import Failure, ParameterRefusedError, account_refusal
from mirt.llm.protocol import ChatMessage, Completion, Picture, Tool

log = structlog.get_logger(__name__)

MORE_ROOM: Final = 4
"""How many times ``max_tokens`` an answer gets after it was cut off before it said anything."""
KEY_PATHS: Final = {"openrouter.ai": "/key"}
"""Paths that tell about our key, by host, where the list of models is public."""
_TOKENS: Final = ("max_tokens", "max_completion_tokens")


class OpenAiAgent:
    """An agent that asks one model. A lost completion has no effect, so it is requested again.

    A parameter that the model refuses is left out from then on, by this process.
    """

    def __init__(
        self,
        *,
        api_key: SecretStr,
        base_url: str,
        model: str,
        max_tokens: int | None = 2048,
        temperature: float | None = 0.3,
        timeout: float = 30.0,
        sends_tools: bool = True,
        prompt: str | None = None,
        summary_prompt: str | None = None,
        max_connections: int = 64,
    ) -> None:
        """Take the key, the base URL before ``/chat/completions``, and the name of the model.

        ``prompt`` and ``summary_prompt`` replace those of ``mirt.llm.prompts``. ``max_tokens`` and
        ``temperature`` are not sent if they are None. ``timeout`` is the most seconds for one
        completion. Without ``sends_tools`` the model has no tools.
        """
        self._model = model
        self._key_path = KEY_PATHS.get(urlsplit(base_url).hostname or "")
        self._prompt = prompt or prompts.ANSWER
        self._summary_prompt = summary_prompt or prompts.SUMMARY
        self._sends_tools = sends_tools
        sent = {"max_tokens": max_tokens, "temperature": temperature}
        self._parameters = {name: value for name, value in sent.items() if value is not None}
        self._service = ExternalService(
            "llm",
            base_url,
            headers={"Authorization": SecretStr(f"Bearer {api_key.get_secret_value()}")},
            secrets=[api_key],
            timeout=timeout,
            refusal_code=ErrorCode.LLM_REFUSED,
            settings=SettingNames("LLM_API_KEY", "LLM_BASE_URL"),
            account_refusal=account_refusal,
            failure_in=service_failure,
            max_connections=max_connections,
        )

    def answer(
        self,
        conversation: Sequence[ChatMessage],
        *,
        summary: str | None,
        tools: Sequence[Tool] = (),
        notes: Sequence[str] = (),
    ) -> Completion:
        """Ask the model for a reply to the last messages."""
        before = [prompts.done_before(notes)] if notes else []
        before += [prompts.SEES] if any(line.pictures for line in conversation) else []
        if tools and not self._sends_tools:
            tools, before = (), [prompts.WITHOUT_TOOLS, *before]
        messages = [_line(line) for line in conversation]
        return self._complete([*_instructions(self._prompt, before, summary), *messages], tools)

    def summarise(self, conversation: Sequence[ChatMessage], *, summary: str | None) -> Completion:
        """Ask the model for a whole summary of the conversation, including the summary before."""
        asked = _message("user", prompts.transcript(conversation))
        return self._complete(
            [*_instructions(self._summary_prompt, [], summary), asked], must_be_whole=True
        )

    def check(self) -> ServiceReport:
        """Ask for the list of models, and for the credit of the key where that can be asked.

        Raises:
            OutageError, ExternalServiceError, RateLimitError: as ``answer``.
        """
        if self._key_path is None:
            return self._check_models()
        credit = at(self._get(self._key_path).body, "data", "limit_remaining")
        if not isinstance(credit, int | float):
            return self._check_models()
        if credit <= 0:
            return ServiceReport("the key has no credit left", "buy credit", works=False)
        models = self._check_models()
        return replace(models, found=f"{models.found}, credit left: {credit:.2f}")

    def _check_models(self) -> ServiceReport:
        answer = self._get("/models")
        listed = at(answer.body, "data")
        if answer.status >= 400 or not isinstance(listed, list):
            return ServiceReport(f"it lists no models ({answer.status}), so the key was not tried")
        names = {at(model, "id") for model in listed}
        if names and self._model not in names:
            found = f"{self._model} is not among its {len(names)} models"
            return ServiceReport(found, "correct LLM_MODEL")
        return ServiceReport(f"the key is taken, {self._model} is there")

    def _get(self, path: str) -> Answer:
        return self._service.call(
            "GET", path, idempotent=True, accept=range(400, 500), timeout=CHECK_S
        )

    def close(self) -> None:
        """Close the connections. A later request opens new ones."""
        self._service.close()

    def _complete(
        self,
        messages: Sequence[dict[str, Any]],
        tools: Sequence[Tool] = (),
        *,
        must_be_whole: bool = False,
    ) -> Completion:
        """Return a completion that can be used; ask once more if the first one cannot.

        One that was cut off before anything usable gets more room. One with a call that cannot be
        read is asked for again as it was; of the second one, such calls are returned as they are.
        """
        names = {tool.name for tool in tools}
        spent, room = Usage(), 1
        for is_last in (False, True):
            answer = self._ask(messages, tools, room)
            try:
                completion = read_completion(
                    answer, names, model=self._model, must_be_whole=must_be_whole
                )
            except CutOffError as cut:
                spent, room = spent + cut.usage, MORE_ROOM
                self._raise_if_hopeless(cut, is_last=is_last)
                continue
            if is_last or all(action.is_readable for action in completion.actions):
                break
            spent += Usage(completion.prompt_tokens, completion.completion_tokens)
        return replace(
            completion,
            prompt_tokens=completion.prompt_tokens + spent.prompt,
            completion_tokens=completion.completion_tokens + spent.completion,
        )

    def _raise_if_hopeless(self, cut: CutOffError, *, is_last: bool) -> None:
        if not self._was_at_the_limit(cut.usage.completion):
            raise PromptRefusedError("llm: its context window has no room for an answer", keep=0.5)
        if is_last:
            raise PermanentError(
                "llm: the answer was cut off before anything usable: raise LLM_MAX_TOKENS",
                ErrorCode.LLM_REFUSED,
            )

    def _was_at_the_limit(self, tokens: int) -> bool:
        """Whether our limit has cut an answer of so many tokens (0: unknown) off."""
        limit = next((self._parameters[name] for name in _TOKENS if name in self._parameters), None)
        return limit is not None and (tokens == 0 or tokens >= 0.9 * limit)

    def _ask(self, messages: Sequence[Any], tools: Sequence[Tool], room: int) -> Answer:
        """Send a request; leave out the parameters that the model refuses."""
        while True:
            parameters = {
                name: value * room if name in _TOKENS else value
                for name, value in self._parameters.items()
            }
            answer = self._service.call(
                "POST",
                "/chat/completions",
                json={
                    "model": self._model,
                    "messages": messages,
                    **parameters,
                    **({"tools": [_function(tool) for tool in tools]} if tools else {}),
                },
                idempotent=True,
                accept=range(400, 500),
            )
            if answer.status < 400:
                return answer
            refused = Failure.read_body(
                answer.body, answer.status, hide=answer.without_quotes
            ).error(answer.headers)
            if not isinstance(refused, ParameterRefusedError) or refused.name not in parameters:
                raise refused
            self._leave_out(refused)

    def _leave_out(self, refused: ParameterRefusedError) -> None:
        kept = {name: v for name, v in self._parameters.items() if name != refused.name}
        if refused.instead and refused.name in self._parameters:
            kept[refused.instead] = self._parameters[refused.name]
        self._parameters = kept
        log.warning("llm_parameter_refused", parameter=refused.name, instead=refused.instead)


def _instructions(prompt: str, before: Sequence[str], summary: str | None) -> list[dict[str, str]]:
    """Return what stands before the conversation. The summary has the rank of the customer."""
    whole = f"{prompt}\n\n{prompts.ABOUT_SUMMARY}" if summary else prompt
    told = [_message("system", "\n\n".join(before))] if before else []
    known = [_message("user", prompts.known_before(summary))] if summary else []
    return [_message("system", whole), *told, *known]


def _line(line: ChatMessage) -> dict[str, Any]:
    if not line.pictures:
        return _message(line.role, line.content)
    images = [
        {"type": "image_url", "image_url": {"url": _data_url(picture)}} for picture in line.pictures
    ]
    return {"role": line.role, "content": [{"type": "text", "text": line.content}, *images]}


def _data_url(picture: Picture) -> str:
    return f"data:{picture.media_type};base64,{b64encode(picture.content).decode()}"


def _message(role: str, content: str) -> dict[str, str]:
    return {"role": role, "content": content}


def _function(tool: Tool) -> dict[str, Any]:
    return {
        "type": "function",
        "function": {
            "name": tool.name,
            "description": tool.description,
            "parameters": dict(tool.parameters),
        },
    }
