"""Processes: how they start, what the supervisor watches, how they stop. No SQL, no business rules.

Order of reading: supervisor, slot, worker_process, worker_main. A process is started by fork, and
judged by heartbeat and recycling. The module embedded has all parts of ``mirt up`` in one process.
"""
