"""Add the words of customers and replies to a log line, if LOG_TEXTS asks for them.

The setting is a value of the process and not a processor of the log: a host program may have
configured the log by itself, and then no words reach it either.
"""

_are_logged = False


def use(*, are_logged: bool) -> None:
    """Set whether this process logs texts; without a call it does not."""
    global _are_logged  # noqa: PLW0603 - a process has one configuration
    _are_logged = are_logged


def loggable(text: str) -> dict[str, str]:
    """Return the text as a value of a log line, or nothing.

    >>> log.info("answered", tokens=7, **loggable(reply.text))
    """
    return {"text": text} if _are_logged else {}
