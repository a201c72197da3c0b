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
    from tests.fakes.world import FakeWorld


def answer(world: "FakeWorld", request: Request) -> Reply:
    """Do what is asked; 400 names what is wrong with it."""
    command = request.path.removeprefix("/_control/")
    body = request.body if isinstance(request.body, dict) else {}
    try:
        if request.method == "GET":
            return Reply(200, _asked(world, command, request))
        _told(world, command, body)
    except (AssertionError, KeyError, TypeError, ValueError) as error:
        return Reply(400, {"error": repr(error)})
    return Reply(200, {"ok": True})


def _asked(world: "FakeWorld", command: str, request: Request) -> Any:
    match command:
        case "requests":
            found = world.requests(request.query.get("api"), request.query.get("path"))
            return [one.as_json() for one in found]
        case "sent":
            return world.sent(request.query["chat_id"])
        case "replies":
            return world.replies(int(request.query.get("since", 0)))
        case "completions":
            return world.completions(int(request.query.get("since", 0)))
        case "orders":
            return world.crm.orders
        case "health":
            return {"ok": True}
    raise KeyError(command)


def _told(world: "FakeWorld", command: str, body: dict[str, Any]) -> None:
    match command:
        case "misbehave":
            told = dict(body)
            what = KINDS[told.pop("kind")](**told.pop("args", {}))
            world.misbehave(told.pop("api"), what, **told)
        case "latency":
            world.latency[body["api"]] = float(body["seconds"])
        case "release":
            world.release()
        case "mend":
            world.mend(body.get("api"))
        case "reset":
            world.reset()
        case _:
            raise KeyError(command)
