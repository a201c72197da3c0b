"""Replays every dead letter, as an operator's process does, and ends."""

import actors  # noqa: F401 - declares the tasks
from broker.stack import install
from middleware.dead_letters import replay
from mirt.clock import utc_now
from mirt.observe import traces
from mirt.runtime import open_runtime, use_runtime
from mirt.store.engine.stores import stores
from mirt.store.queue.dead_letters import DeadLetterFilter
from service.processes.startup import read_settings

if __name__ == "__main__":
    settings = read_settings()
    traces.start("replayer")
    use_runtime(open_runtime(settings))
    broker = install(settings)
    assert replay(broker, stores(settings).database, DeadLetterFilter(), utc_now) == 1
    broker.close()
    traces.stop()
