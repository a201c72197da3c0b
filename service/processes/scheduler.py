"""What periodiq imports to be our scheduler: its log is ours, and so are the tasks it sends."""

import atexit

import actors  # noqa: F401 - declares the tasks
from mirt.observe import traces
from mirt.observe.logs import configure
from mirt.settings import load_settings

configure(load_settings())
traces.start("scheduler")
atexit.register(traces.stop)
