"""What can go wrong with a command: its field, problem and code, and an exit code for scripts."""

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import NoReturn

from service.exit_codes import CONFIGURATION, UNAVAILABLE, USAGE, WRONG


class CommandError(Exception):
    """A command cannot do what it was asked for; ``field`` is what is wrong, ``code`` the kind."""

    def __init__(self, field: str, problem: str, code: str, exit_code: int = WRONG) -> None:
        super().__init__(problem)
        self.field = field
        self.problem = problem
        self.code = code
        self.exit_code = exit_code


def misused(field: str, problem: str) -> CommandError:
    """The command was used wrongly."""
    return CommandError(field, problem, "INVALID_INPUT", USAGE)


def not_found(field: str, problem: str) -> CommandError:
    """What was asked for is not there."""
    return CommandError(field, problem, "NOT_FOUND")


@contextmanager
def ended() -> Iterator[None]:
    """End the process with a line and an exit code for each error that is not a bug of ours."""
    try:
        yield
    except CommandError as wrong:
        _end(wrong.field, wrong.problem, wrong.code, wrong.exit_code)
    except BrokenPipeError:
        # Whoever read has had enough, like head; nothing more is to be written.
        sys.stdout = None
        raise SystemExit(WRONG) from None
    except Exception as failed:
        told = translated(failed)
        if told is None:
            raise
        _end(told.field, told.problem, told.code, told.exit_code)


def _end(field: str, problem: str, code: str, exit_code: int) -> NoReturn:
    print(f"{field}: {problem} ({code})", file=sys.stderr)
    raise SystemExit(exit_code)


def translated(failed: Exception) -> CommandError | None:
    """Return the error as a command tells it; None when it is a bug.

    Its imports wait until an error occurs: the list of commands needs none of them.
    """
    from mirt.errors import (
        BrokerUnavailableError,
        DatabaseError,
        ErrorCode,
        PermanentError,
        RedisUnavailableError,
        WorkerError,
    )
    from mirt.settings import SettingsError
    from mirt.store.engine.revision import SchemaError

    match failed:
        case SettingsError():
            return CommandError("configuration", str(failed), "CONFIGURATION", CONFIGURATION)
        case SchemaError():
            return CommandError("schema", str(failed), "SCHEMA", CONFIGURATION)
        case DatabaseError():
            return _down("DATABASE_URL", "the database cannot be reached", failed)
        case BrokerUnavailableError():
            return _down("RABBITMQ_URL", "RabbitMQ cannot be reached", failed)
        case RedisUnavailableError():
            return _down("REDIS_URL", "Redis cannot be reached", failed)
        case PermanentError():
            field, _, problem = failed.message.partition(": ")
            code = failed.error_code or ErrorCode.INVALID_INPUT
            exit_code = USAGE if code == ErrorCode.INVALID_INPUT else WRONG
            return CommandError(field, problem or failed.message, code, exit_code)
        case WorkerError():
            return CommandError("service", failed.message, "UNAVAILABLE", UNAVAILABLE)
    return None


def _down(variable: str, what: str, failed: Exception) -> CommandError:
    # One line: psycopg puts hints on lines of their own.
    why = " ".join(str(failed).split())
    return CommandError(variable, f"{what}: {why}; mirt doctor", "UNAVAILABLE", UNAVAILABLE)
