"""JSON under ``/_control`` for programs of other processes.

``POST misbehave`` ``{api, kind, args?, times?, match?, chat?, path?}`` (``times: null`` is for
ever), ``latency`` ``{api, seconds}``, ``release``, ``mend`` ``{api?}``, ``reset``.
``GET requests?api=&path=``, ``sent?chat_id=``, ``replies?since=``, ``completions?since=``,
``orders``, ``health``.
"""

from typing import TYPE_CHECKING, Any

from tests.fakes.misbehaviour import KINDS
from tests.fakes.traffic import Reply, Request

if TYPE_CHECKING:
    from tests.fakes.services import FakeServices


def answer(services: "FakeServices", request: Request) -> Reply:
    """Do what is asked; 400 names what is wrong with it."""
    command = request.path.removeprefix("/_control/")
    body = request.body if isinstance(request.body, dict) else {}
    try:
        if request.method == "GET":
            return Reply(200, _asked(services, command, request))
        _told(services, command, body)
    except (AssertionError, KeyError, TypeError, ValueError) as error:
        return Reply(400, {"error": repr(error)})
    return Reply(200, {"ok": True})


def _asked(services: "FakeServices", command: str, request: Request) -> Any:
    match command:
        case "requests":
            found = services.requests(request.query.get("api"), request.query.get("path"))
            return [one.as_json() for one in found]
        case "sent":
            return services.sent(request.query["chat_id"])
        case "replies":
            return services.replies(int(request.query.get("since", 0)))
        case "completions":
            return services.completions(int(request.query.get("since", 0)))
        case "orders":
            return services.crm.orders
        case "health":
            return {"ok": True}
    raise KeyError(command)


def _told(services: "FakeServices", command: str, body: dict[str, Any]) -> None:
    match command:
        case "misbehave":
            told = dict(body)
            what = KINDS[told.pop("kind")](**told.pop("args", {}))
            services.misbehave(told.pop("api"), what, **told)
        case "latency":
            services.latency[body["api"]] = float(body["seconds"])
        case "release":
            services.release()
        case "mend":
            services.mend(body.get("api"))
        case "reset":
            services.reset()
        case _:
            raise KeyError(command)
