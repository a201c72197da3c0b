"""Configure gunicorn for the ingress: ``gunicorn -c python:service.gunicorn service.asgi:app``.

Gunicorn reads every name of this module as one of its settings
(https://docs.gunicorn.org/en/stable/settings.html). PORT, WEB_HOST and WEB_CONCURRENCY come from
the environment, OPS_HOST and OPS_PORT also from ``.env``. ``service.web.server`` limits the headers
of a request, ``service.web.bodies`` the body, each in time and size.
"""

import os
import shutil
from typing import Any

from dotenv import dotenv_values

from service.processes import garbage_collector, open_files

with garbage_collector.paused():
    from mirt.observe import multiprocess
    from service import asgi  # noqa: F401 - loaded before the fork; opens nothing
    from service.processes.folders import private_folder
    from service.processes.startup import addresses

bind = addresses({**dotenv_values(".env"), **os.environ})

worker_class = "service.web.server.IngressWorker"
workers = int(os.environ.get("WEB_CONCURRENCY", "2"))
# Connections and threads do not survive a fork.
preload_app = False

# Seconds. The arbiter replaces a worker whose main loop is stuck. A slow request is not stuck.
timeout = 30
graceful_timeout = 20
backlog = 2048

# service.web.request_log logs each request.
accesslog = None
errorlog = "-"
logger_class = "service.processes.gunicorn_log.Lines"
# Gunicorn would open a socket in the home directory through which running servers can be changed.
control_socket_disable = True


# Any worker that is scraped returns the metrics of all workers, also of dead ones.
def on_starting(server: Any) -> None:
    """Open the folder in which all processes count together. Runs in the arbiter."""
    open_files.raise_limit()
    server.metrics_folder = private_folder("mirt-web-")
    server.process_numbers = multiprocess.ProcessNumbers(server.metrics_folder)
    multiprocess.init_parent(server.metrics_folder)


def pre_fork(server: Any, worker: Any) -> None:
    """Reserve a process number for the worker. Runs in the arbiter."""
    worker.process_number = server.process_numbers.take()


def post_fork(_server: Any, worker: Any) -> None:
    """Count under the reserved process number. Runs in the worker."""
    multiprocess.init_child(worker.process_number)


def child_exit(server: Any, worker: Any) -> None:
    """Release the process number of a dead worker. Runs in the arbiter."""
    server.process_numbers.leave(worker.process_number)


def on_exit(server: Any) -> None:
    """Delete the folder of the measurements. Runs in the arbiter."""
    shutil.rmtree(server.metrics_folder, ignore_errors=True)
