"""The HTTP ingress: every route on one screen."""

from collections.abc import Mapping
from contextvars import copy_context
from functools import partial
from typing import Any, Final

import falcon
import orjson
from falcon.media import JSONHandler

from mirt.health import Probe
from mirt.runtime import Runtime
from service.admin_ui import routes as ops
from service.admin_ui.headers import PageHeaders
from service.dispatcher import dispatch_message
from service.web.bearer import Bearer
from service.web.bulkhead import Bulkhead
from service.web.errors import answer_errors
from service.web.health import Alive, Ready, probes_of
from service.web.load_shedding import Shedding
from service.web.login_throttle import LoginThrottle
from service.web.metrics import MetricsResource
from service.web.request_log import Measuring, RequestLog
from service.web.tasks import WORK, Tasks
from service.web.webhooks import Dispatch, Webhook

ANSWER_WITHIN_S: Final = 0.9
"""So long a webhook waits for its message to be kept; then the sender is asked to send it again."""
THREADS: Final = 8
"""Messages that are being kept at the same moment; as many as a process answers requests at once.
"""


def create_app(
    runtime: Runtime,
    *,
    dispatch: Dispatch = dispatch_message,
    probes: Mapping[str, Probe] | None = None,
) -> falcon.App[Any, Any]:
    """Return the WSGI application. ``mirt.runtime.use_runtime`` must know this runtime already.

    Call it in the process that serves: it starts threads. ``probes`` replaces the dependencies
    that ``/readyz`` asks.
    """
    outermost_first: list[Any] = [Measuring(), RequestLog(), PageHeaders()]
    app = falcon.App(middleware=outermost_first)
    app.resp_options.media_handlers[falcon.MEDIA_JSON] = JSONHandler(dumps=orjson.dumps)
    answer_errors(app)

    keep = _bounded(dispatch, runtime)
    for name, channel in runtime.channels.items():
        app.add_route(f"/webhooks/{name}", Webhook(channel, keep))
    attempts = LoginThrottle()
    bearer = Bearer(runtime.settings.ops_token, attempts)
    for name, work in WORK.items():
        app.add_route(f"/tasks/{name}", Tasks(bearer, work))
    app.add_route("/healthz", Alive())
    app.add_route(
        "/readyz", Ready(probes_of(runtime) if probes is None else probes, runtime.health.latest)
    )
    app.add_route("/metrics", MetricsResource(runtime))
    for address, page in ops.routes(runtime, attempts):
        app.add_route(address, page)
    return app


def _bounded(dispatch: Dispatch, runtime: Runtime) -> Dispatch:
    """``dispatch`` that is over in time and sheds what is too much, unless it does the work itself.

    Of a message that was not kept in time it is not known whether it will be. That is safe: the
    sender, answered 503, sends it again, and the second copy is known for what it is.
    """
    settings = runtime.settings
    if settings.tasks_eager or not settings.tasks_enabled:
        # In a context of its own: a task clears what it has bound, and our trace with it.
        return lambda *args, **kwargs: copy_context().run(dispatch, *args, **kwargs)
    limit = settings.backlog_max_messages
    shedding = Shedding(
        lambda: runtime.conversations.backlog(count_to=limit),
        max_messages=limit,
        max_wait_s=settings.backlog_max_wait_seconds,
    )

    def admit(*args: Any, **kwargs: Any) -> dict[str, Any]:
        shedding.admit()
        return dispatch(*args, **kwargs)

    bulkhead = Bulkhead("dispatch", threads=THREADS, within_s=ANSWER_WITHIN_S)
    return lambda *args, **kwargs: bulkhead.call(partial(admit, *args, **kwargs))
