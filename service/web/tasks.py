"""Serve ``/tasks/…``: our own systems start tasks, authenticated by OPS_TOKEN."""

from collections.abc import Callable
from typing import Any, Final

import falcon
from pydantic import Field

from mirt.channels.webhook import Payload, Text, read_payload
from mirt.conversations import LONGEST_ID
from service.dispatcher import dispatch_crm_order, dispatch_followup, dispatch_summarization
from service.web.bearer import Bearer
from service.web.bodies import read_json
from service.web.request_log import join_caller


class TaskRequest(Payload):
    """The body of a request: the arguments of the task."""

    session_id: Text = Field(min_length=1, max_length=LONGEST_ID)


class SummaryRequest(TaskRequest):
    """The body of ``POST /tasks/summarize``."""

    user_id: Text | None = None


class FollowUpRequest(TaskRequest):
    """The body of ``POST /tasks/followup``."""

    channel: Text = "telegram"
    chat_id: Text | None = None


TaskDispatch = Callable[[Any], dict[str, Any]]
"""Parses a body and dispatches its task; raises PermanentError that names every wrong field."""


def _parsing(shape: type[TaskRequest], dispatch: Callable[..., dict[str, Any]]) -> TaskDispatch:
    def parse_and_dispatch(body: object) -> dict[str, Any]:
        return dispatch(**read_payload(shape, body).model_dump())

    return parse_and_dispatch


TASK_DISPATCHERS: Final[dict[str, TaskDispatch]] = {
    "summarize": _parsing(SummaryRequest, dispatch_summarization),
    "followup": _parsing(FollowUpRequest, dispatch_followup),
    "order": dispatch_crm_order,
}


class TaskResource:
    """The route of one task."""

    def __init__(self, bearer: Bearer, dispatch: TaskDispatch) -> None:
        self._bearer = bearer
        self._dispatch = dispatch

    def on_post(self, req: falcon.Request, resp: falcon.Response) -> None:
        """Answer 202 and the task id when the task is stored; 200 if it was run at once."""
        self._bearer.require(req)
        join_caller(req, resp)
        resp.media = answer = self._dispatch(read_json(req))
        resp.status = falcon.HTTP_202 if answer["queued"] else falcon.HTTP_200
