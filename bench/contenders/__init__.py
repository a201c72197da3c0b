"""The same job without the promises: FastAPI with stock Dramatiq, and with Celery.

Each takes the same webhooks, asks the same fake LLM and sends through the same fake Telegram, and
keeps a row for the message and one for the reply. They run in a virtual environment of their own.
"""
