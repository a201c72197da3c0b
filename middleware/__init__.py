"""The policy: limits, retries, idempotency, quarantine, dead letters, and what is seen of them.

It decides from the envelope, the task's row and the class of an error; never from a body or a text.
"""
