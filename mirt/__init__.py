"""The business of the shop: everything that would also be needed if the queue were a cron job.

It makes decisions and returns the tasks to publish. The clock, randomness and the outside services
are arguments. It knows no queue, no broker and no web framework.
"""
