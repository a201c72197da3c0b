"""Build ``service.asgi:app`` for gunicorn on first access: in the worker, after the fork.

Wrong settings or a wrong schema end the worker with gunicorn's exit code for a failed boot, so
that the arbiter stops instead of starting another worker. A database that is down ends nothing:
the ingress has to run to answer 503.
"""

import atexit
from typing import Any, Final

import structlog
from gunicorn.arbiter import Arbiter

from broker.stack import install
from mirt.errors import RetryableError
from mirt.observe import traces
from mirt.runtime import open_runtime, use_runtime
from mirt.settings import Settings
from mirt.store.engine.revision import SchemaError, check_schema
from mirt.store.engine.stores import stores
from service.app import create_app
from service.processes.startup import read_settings, refuse
from service.web.bulkhead import Bulkhead
from service.web.ingress import IngressApp

log = structlog.get_logger(__name__)

SCHEMA_CHECK_TIMEOUT_S: Final = 5.0


def __getattr__(name: str) -> Any:
    """Build ``app`` on first access; importing this module opens nothing."""
    if name != "app":
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    globals()["app"] = built = build()
    return built


def build() -> IngressApp:
    """Return the application that the environment describes.

    Raises:
        SystemExit: the settings or the schema are wrong; the reason has been printed.
    """
    try:
        settings = read_settings()
        _check_schema(settings)
    except SystemExit:
        raise SystemExit(Arbiter.WORKER_BOOT_ERROR) from None
    traces.start("web")
    atexit.register(traces.stop)
    runtime = open_runtime(settings)
    use_runtime(runtime)
    atexit.register(runtime.close)
    broker = install(settings)
    atexit.register(broker.close)
    # Reading `ready` connects to the broker, so that the first message does not wait for it.
    log.info("web_started", mode=settings.mode, connected=broker.ready)
    return create_app(runtime, ops_port=settings.ops_port)


def _check_schema(settings: Settings) -> None:
    database = stores(settings).database
    try:
        Bulkhead("schema", threads=1, within_s=SCHEMA_CHECK_TIMEOUT_S).call(
            lambda: check_schema(database)
        )
    except SchemaError as error:
        refuse("Cannot work with this database:", str(error))
    except RetryableError as error:
        log.warning("schema_not_checked", why=error.message)
