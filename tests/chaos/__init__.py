"""Chaos: the real deployment under a random but repeatable plan of faults, judged from outside.

``make chaos``, or ``python -m tests.chaos --messages 5000 --chats 300 --faults 40 --seed 1``. The
plans (what breaks when, who writes when) follow from the arguments alone; what the machine makes of
them does not. Whatever the run leaves for an explanation lies under ``var/chaos/``.

``schedule`` and ``load`` plan, ``faults`` breaks, ``stage`` is what is broken, ``verdict`` counts
and ``report`` tells. Pytest collects nothing here; what is tested is in ``tests/unit``.
"""
