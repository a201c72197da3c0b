"""Transports messages to workers: task registry, outbox, connections, confirms, acknowledgements.

Read ``task`` (declares tasks and binds them), then ``durable`` (what all brokers share), ``stack``
(which broker and middleware a process gets) and ``pump`` (publishes what is due). ``rabbitmq``,
``embedded`` and ``eager`` are the transports. No code here reads arguments of a task, knows a
customer, or decides about a failure.
"""
