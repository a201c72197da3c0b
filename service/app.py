"""Create the HTTP ingress. Every route stands in ``create_app``."""

from collections.abc import Callable, Mapping
from contextvars import copy_context
from functools import partial
from typing import Any, Final, TypeVar

import falcon
import orjson
from falcon.media import JSONHandler

from mirt.health import Probe
from mirt.runtime import Runtime
from service.admin_ui import routes as admin_ui
from service.admin_ui.headers import PageHeaders
from service.dispatcher import dispatch_message
from service.web.bearer import Bearer
from service.web.bulkhead import Bulkhead
from service.web.errors import answer_errors
from service.web.health import Liveness, Readiness, probes_of
from service.web.load_shedding import LoadShedder
from service.web.login_throttle import LoginThrottle
from service.web.metrics import MetricsResource
from service.web.request_log import RequestLog, RequestMetrics
from service.web.tasks import TASK_DISPATCHERS, TaskResource
from service.web.webhooks import Dispatch, Webhook

T = TypeVar("T")

ANSWER_WITHIN_S: Final = 0.9
"""Seconds that a webhook waits until its message is stored. Then it answers 503: send again."""
THREADS: Final = 8
"""Threads that store messages: as many as threads that answer requests in one process."""


def create_app(
    runtime: Runtime,
    *,
    dispatch: Dispatch = dispatch_message,
    probes: Mapping[str, Probe] | None = None,
) -> falcon.App[Any, Any]:
    """Return the WSGI application. Call ``mirt.runtime.use_runtime(runtime)`` before.

    Call it in the process that serves, because it starts threads. ``probes`` replaces the
    dependencies that ``/readyz`` checks.
    """
    outermost_first: list[Any] = [RequestMetrics(), RequestLog(), PageHeaders()]
    app = falcon.App(middleware=outermost_first)
    app.resp_options.media_handlers[falcon.MEDIA_JSON] = JSONHandler(dumps=orjson.dumps)
    answer_errors(app)

    bounded = _bounded(runtime)
    store_message, record = bounded(dispatch), bounded(runtime.reachability.record)
    for name, channel in runtime.channels.items():
        app.add_route(f"/webhooks/{name}", Webhook(channel, store_message, record))
    login_throttle = LoginThrottle()
    bearer = Bearer(runtime.settings.ops_token, login_throttle)
    for name, dispatch_task in TASK_DISPATCHERS.items():
        app.add_route(f"/tasks/{name}", TaskResource(bearer, dispatch_task))
    app.add_route("/healthz", Liveness())
    app.add_route(
        "/readyz",
        Readiness(probes_of(runtime) if probes is None else probes, runtime.health.latest),
    )
    app.add_route("/metrics", MetricsResource(runtime))
    for address, page in admin_ui.routes(runtime, login_throttle):
        app.add_route(address, page)
    return app


def _bounded(runtime: Runtime) -> Callable[[Callable[..., T]], Callable[..., T]]:
    """Return a decorator: a time limit and load shedding, none where the caller runs the task.

    When the time is over, the event may still be stored later. That is safe: the sender gets
    503 and sends it again, and the second copy is recognised as a duplicate.
    """
    settings = runtime.settings
    if settings.tasks_eager or not settings.tasks_enabled:
        # In a copy of the context: a task clears the log context, and would clear our trace id.
        return lambda store: lambda *args, **kwargs: copy_context().run(store, *args, **kwargs)
    limit = settings.backlog_max_messages
    load_shedder = LoadShedder(
        lambda: runtime.conversations.backlog(count_to=limit),
        max_messages=limit,
        max_wait_s=settings.backlog_max_wait_seconds,
    )
    bulkhead = Bulkhead("dispatch", threads=THREADS, within_s=ANSWER_WITHIN_S)

    def admit(store: Callable[..., T], *args: Any, **kwargs: Any) -> T:
        load_shedder.admit()
        return store(*args, **kwargs)

    return lambda store: (
        lambda *args, **kwargs: bulkhead.call(partial(admit, store, *args, **kwargs))
    )
