"""The errors of a statement that the database answered: nothing of its transaction is committed."""

from mirt.errors import DatabaseError


class StatementError(Exception):
    """A statement that the database refuses: a bug of ours. The text quotes no value of it."""


class BusyError(DatabaseError):
    """The database works, but other transactions are in the way: a lock, a deadlock, a timeout."""
