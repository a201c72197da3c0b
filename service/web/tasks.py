"""Work that our own systems ask for: ``/tasks/…``, for whoever brings OPS_TOKEN."""

from collections.abc import Callable
from typing import Any, Final

import falcon
from pydantic import Field

from mirt.channels.webhook import Payload, Text, read_payload
from mirt.conversations import LONGEST_ID
from service.dispatcher import dispatch_crm_order, dispatch_followup, dispatch_summarization
from service.web.bearer import Bearer
from service.web.bodies import read_json


class Asked(Payload):
    """The body of a request: what the task is called with."""

    session_id: Text = Field(min_length=1, max_length=LONGEST_ID)


class Summary(Asked):
    """``POST /tasks/summarize``."""

    user_id: Text | None = None


class FollowUpRequest(Asked):
    """``POST /tasks/followup``."""

    channel: Text = "telegram"
    chat_id: Text | None = None


Work = Callable[[Any], dict[str, Any]]
"""Understands a body, or raises a PermanentError naming every wrong field, and dispatches it."""


def _of_session(shape: type[Asked], dispatch: Callable[..., dict[str, Any]]) -> Work:
    def work(body: object) -> dict[str, Any]:
        return dispatch(**read_payload(shape, body).model_dump())

    return work


WORK: Final[dict[str, Work]] = {
    "summarize": _of_session(Summary, dispatch_summarization),
    "followup": _of_session(FollowUpRequest, dispatch_followup),
    "order": dispatch_crm_order,
}


class Tasks:
    """The address of one kind of work."""

    def __init__(self, bearer: Bearer, work: Work) -> None:
        self._bearer = bearer
        self._work = work

    def on_post(self, req: falcon.Request, resp: falcon.Response) -> None:
        """Answer 202 and the task's id once the work is kept; 200 if it was done at once."""
        self._bearer.require(req)
        resp.media = answer = self._work(read_json(req))
        resp.status = falcon.HTTP_202 if answer["queued"] else falcon.HTTP_200
