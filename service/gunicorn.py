"""How gunicorn serves the ingress: ``gunicorn -c python:service.gunicorn service.wsgi:app``.

Read by gunicorn, which takes every name here for one of its settings
(https://docs.gunicorn.org/en/stable/settings.html). PORT and WEB_CONCURRENCY come from the
environment. It belongs behind a proxy that buffers slow clients: gunicorn reads a body for as long
as it comes.
"""

import os
import shutil
from typing import Any

from service.processes.fork import loading

with loading():
    from mirt.observe import multiprocess
    from service import wsgi  # noqa: F401 - the workers', which opens nothing yet
    from service.app import THREADS
    from service.processes.folders import private_folder

# Every address, not only loopback: the proxy is another container.
bind = f"0.0.0.0:{os.environ.get('PORT', '8000')}"

worker_class = "gthread"
workers = int(os.environ.get("WEB_CONCURRENCY", "2"))
threads = THREADS
# Connections and threads do not survive a fork.
preload_app = False

# Seconds. A worker whose main loop is stuck is replaced; a slow request does not count as that.
timeout = 30
graceful_timeout = 20
# Longer than a load balancer's own idle time (60 s as a rule), so that it is the one who closes:
# it would answer 502 for a request that meets our closing.
keepalive = 75

# Bytes, except the fields. The limit of a body is service.web.bodies.LONGEST_BODY.
limit_request_line = 2048
limit_request_fields = 64
limit_request_field_size = 8190

# Each request is logged once, by service.web.request_log.
accesslog = None
errorlog = "-"
logger_class = "service.processes.gunicorn_log.Lines"
# A socket in the home directory by which running servers can be changed: nobody's business.
control_socket_disable = True


# Whichever worker is asked for its metrics gives those of all, the dead ones too.
def on_starting(server: Any) -> None:
    """Found the family of processes that is measured as one; in the arbiter."""
    server.measured = private_folder("mirt-web-")
    server.seats = multiprocess.ProcessNumbers(server.measured)
    multiprocess.init_parent(server.measured)


def pre_fork(server: Any, worker: Any) -> None:
    """Give a worker its seat; in the arbiter."""
    worker.seat = server.seats.take()


def post_fork(_server: Any, worker: Any) -> None:
    """Take the seat; in the worker."""
    multiprocess.init_child(worker.seat)


def child_exit(server: Any, worker: Any) -> None:
    """Free the seat of a worker that is dead; in the arbiter."""
    server.seats.leave(worker.seat)


def on_exit(server: Any) -> None:
    """Remove what was measured; in the arbiter."""
    shutil.rmtree(server.measured, ignore_errors=True)
