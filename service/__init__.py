"""The doors: transport, authentication, answers, starting and stopping processes.

Here lives what faces a caller: the webhooks, the dispatcher, the command line, the processes.
What may not: SQL, Redis, AMQP, and rules of the business.
"""
