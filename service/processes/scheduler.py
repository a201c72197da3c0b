"""The module that periodiq imports: it declares our tasks and sets up our log and traces."""

import atexit

import actors  # noqa: F401 - declares the tasks
from mirt.observe import traces
from mirt.observe.logs import configure
from mirt.settings import load_settings

configure(load_settings())
traces.start("scheduler")
atexit.register(traces.stop)
