"""Decides how each task runs: limits, retries, leases, quarantine, dead letters, and their logs.

Decisions follow from the envelope, the task's row and the class of an error, never from arguments
or texts. Read the modules in this order:

1. ``policy``: the table of queues and tasks, with their limits and retries.
2. ``envelopes``: a task message becomes a message of the broker, and back.
3. ``execution``: a worker claims a task, runs it and settles it. It uses ``quarantine`` for tasks
   that may kill their worker, and ``leases``, which renews the leases of running tasks. The hooks
   share facts about one delivery in ``run_state``.
4. ``settlement``: writes the end of a run, as ``retries`` decides it.
5. ``lifecycle``: the log line and the span attributes of each step.

For operators there are ``dead_letters`` (replay) and ``purge``. Beside the worker run ``presence``,
``worker_stats`` and ``hard_limits``. ``broker.stack`` puts them in order.
"""
