"""Every HTTP route of the ingress."""

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextvars import copy_context
from functools import partial
from typing import Any, Final, TypeVar

import falcon
import falcon.asgi
import orjson
from falcon.media import JSONHandler

from broker.task import registry
from mirt.channels import InboundMessage
from mirt.health import Probe
from mirt.runtime import Runtime
from service.admin_ui import routes as ops
from service.admin_ui.headers import PageHeaders
from service.dispatcher import Dispatch, accepting, dispatch_message
from service.web.bearer import Bearer
from service.web.bulkhead import Bulkhead
from service.web.clients import Clients
from service.web.errors import answer_errors
from service.web.health import Liveness, Readiness, probes_of
from service.web.ingress import IngressApp
from service.web.intake import ANSWER_WITHIN_S, Intake
from service.web.load_shedding import LoadShedder
from service.web.login_throttle import LoginThrottle
from service.web.loopback import LoopbackGuard
from service.web.metrics import MetricsResource
from service.web.request_log import RequestLog, RequestMetrics
from service.web.tasks import TASK_DISPATCHERS, TaskResource
from service.web.webhooks import Accept, Record, Webhook

E = TypeVar("E")
T = TypeVar("T")

RARE_THREADS: Final = 2
THREADS: Final = 32
"""Threads of webhooks that do the work themselves: the embedded mode, and without tasks."""


def create_app(
    runtime: Runtime,
    *,
    dispatch: Dispatch = dispatch_message,
    probes: Mapping[str, Probe] | None = None,
    guard: LoopbackGuard | None = None,
    ops_port: int | None = None,
) -> IngressApp:
    """Return the ASGI application. ``mirt.runtime.use_runtime`` must know this runtime already.

    Call it in the process that serves: it starts threads. ``dispatch`` replaces the way in which a
    message is stored, ``probes`` the dependencies that ``/readyz`` asks. With ``guard`` requests of
    other machines are refused. With ``ops_port`` all but webhooks and ``/healthz`` is on that port.
    """
    app: IngressApp = IngressApp(middleware=[RequestMetrics(), RequestLog()])
    if guard is not None:
        app.refuse_foreign(guard)
    _prepare(app)
    accept, record = _accept(runtime, dispatch), _record(runtime)
    webhooks = {f"/webhooks/{name}": channel for name, channel in runtime.channels.items()}
    for path, channel in webhooks.items():
        app.add_route(path, Webhook(channel, accept, record))
    app.add_route("/healthz", Liveness())
    own = {*webhooks, "/healthz"}
    app.pass_others(_in_threads(runtime, probes), own=own, ops_port=ops_port)
    return app


def _in_threads(runtime: Runtime, probes: Mapping[str, Probe] | None) -> falcon.App[Any, Any]:
    """Return the routes that may take a thread: tasks, readiness, metrics and pages."""
    outermost_first: list[Any] = [RequestMetrics(), RequestLog(), PageHeaders()]
    app = falcon.App(middleware=outermost_first)
    _prepare(app)
    settings = runtime.settings
    clients = Clients(settings.trusted_proxies)
    attempts = LoginThrottle(clients)
    bearer = Bearer(settings.tasks_token or settings.ops_token, attempts)
    for name, dispatch_task in TASK_DISPATCHERS.items():
        app.add_route(f"/tasks/{name}", TaskResource(bearer, dispatch_task))
    app.add_route(
        "/readyz",
        Readiness(probes_of(runtime) if probes is None else probes, runtime.health.latest),
    )
    app.add_route("/metrics", MetricsResource(runtime))
    for address, page in ops.routes(runtime, attempts, clients):
        app.add_route(address, page)
    return app


def _prepare(app: Any) -> None:
    app.resp_options.media_handlers[falcon.MEDIA_JSON] = JSONHandler(dumps=orjson.dumps)
    answer_errors(app)


def _accept(runtime: Runtime, dispatch: Dispatch) -> Accept:
    """Return how a webhook stores its message: together with others, or by ``dispatch``.

    A message that was not stored in time may still be stored. That is safe: its sender, answered
    503, sends it again, and the second copy is a duplicate.
    """
    settings = runtime.settings
    threads = ThreadPoolExecutor(THREADS, thread_name_prefix="webhook")
    if settings.tasks_eager or not settings.tasks_enabled:
        return _in_a_thread(threads, partial(_dispatch, dispatch))
    limit = settings.backlog_max_messages
    shedder = LoadShedder(
        lambda: runtime.conversations.backlog(count_to=limit),
        max_messages=limit,
        max_wait_s=settings.backlog_max_wait_seconds,
    )
    if dispatch is not dispatch_message or runtime.database.is_sqlite:
        bulkhead = Bulkhead("dispatch", threads=THREADS, within_s=ANSWER_WITHIN_S)

        def admit_and_dispatch(message: InboundMessage) -> bool:
            shedder.admit()
            return _dispatch(dispatch, message)

        return _in_a_thread(
            threads, lambda message: bulkhead.call(partial(admit_and_dispatch, message))
        )
    intake = Intake(
        admit=shedder.admit,
        accept_together=runtime.conversations.accept_together,
        accept=runtime.conversations.accept,
        publish=partial(registry.broker.publish, within_s=0),
    )
    return accepting(runtime, intake.accept)


def _record(runtime: Runtime) -> Record:
    """Return how a webhook stores the news of a block, which are rare."""
    threads = ThreadPoolExecutor(RARE_THREADS, thread_name_prefix="reachability")
    bulkhead = Bulkhead("reachability", threads=RARE_THREADS, within_s=ANSWER_WITHIN_S)
    record = runtime.reachability.record
    return _in_a_thread(threads, lambda change: bulkhead.call(partial(record, change)))


def _in_a_thread(
    threads: ThreadPoolExecutor, store: Callable[[E], T]
) -> Callable[[E], Awaitable[T]]:
    async def accept(event: E) -> T:
        # In a context of its own: a task clears what it has bound, and our trace with it.
        run = copy_context().run
        return await asyncio.get_running_loop().run_in_executor(threads, run, store, event)

    return accept


def _dispatch(dispatch: Dispatch, message: InboundMessage) -> bool:
    answer = dispatch(
        message.session_id,
        message.text,
        platform=message.platform,
        chat_id=message.chat_id,
        user_id=message.user_id,
        message_id=message.message_id,
        metadata=dict(message.metadata),
        fire_and_forget=True,
    )
    return bool(answer.get("duplicate"))
