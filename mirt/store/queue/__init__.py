"""The durable queue: tasks, leases, outbox, events, dead letters, ticks, workers.

The queue knows nothing of the business, which is only in the arguments of the tasks.
"""
