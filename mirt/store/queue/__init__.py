"""The durable queue: tasks, leases, outbox, events, dead letters, ticks, workers.

It knows no business: what a task is about stands in its arguments only.
"""
