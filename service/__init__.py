"""Entry points: transport, authentication, answers, starting and stopping processes.

This package faces the callers: the webhooks, the dispatcher, the command line, the processes.
It holds no SQL, no Redis, no AMQP and no rules of the business.
"""
