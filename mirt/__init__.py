"""The business: what would be needed if the queue were a cron job.

It decides and returns what is to be published. The clock, randomness and the outside world come
in as arguments. It knows no queue, no broker and no web framework.
"""
