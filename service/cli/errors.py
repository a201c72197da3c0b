"""Errors of commands: each is printed in one line and ends the process with an exit code."""

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import NoReturn

from mirt.observe.printable import printable_block
from service.exit_codes import CONFIGURATION, UNAVAILABLE, USAGE, WRONG


class CommandError(Exception):
    """Failure of a command. ``field`` is the wrong option or part, ``code`` the kind of error."""

    def __init__(self, field: str, problem: str, code: str, exit_code: int = WRONG) -> None:
        super().__init__(problem)
        self.field = field
        self.problem = problem
        self.code = code
        self.exit_code = exit_code


def misused(field: str, problem: str) -> CommandError:
    """Return the error for a command that was used wrongly; its exit code is 2."""
    return CommandError(field, problem, "INVALID_INPUT", USAGE)


def not_found(field: str, problem: str) -> CommandError:
    """Return the error for a name or id that does not exist; its exit code is 1."""
    return CommandError(field, problem, "NOT_FOUND")


@contextmanager
def exit_on_error() -> Iterator[None]:
    """End the process with one line and an exit code if an error inside is no bug of ours."""
    try:
        yield
    except CommandError as error:
        _end(error)
    except BrokenPipeError:
        # The reader of our output has closed it, as head does. Writing at exit would fail again.
        sys.stdout = None
        raise SystemExit(WRONG) from None
    except Exception as failed:
        reported = as_command_error(failed)
        if reported is None:
            raise
        _end(reported)


def _end(error: CommandError) -> NoReturn:
    # The problem may have a line for each wrong setting.
    text = printable_block(f"{error.field}: {error.problem} ({error.code})")
    print(text, file=sys.stderr)
    raise SystemExit(error.exit_code)


def as_command_error(failed: Exception) -> CommandError | None:
    """Return the error as a command reports it, or None if it is a bug.

    The imports stand inside because the list of commands needs none of them.
    """
    from mirt.errors import (
        BrokerUnavailableError,
        DatabaseError,
        ErrorCode,
        OutageError,
        PermanentError,
        RedisUnavailableError,
        ServerUrlError,
        WorkerError,
    )
    from mirt.settings import SettingsError
    from mirt.store.engine.revision import SchemaError

    match failed:
        case SettingsError():
            return CommandError("configuration", str(failed), "CONFIGURATION", CONFIGURATION)
        case ServerUrlError():
            return CommandError(failed.setting, failed.problem, "CONFIGURATION", CONFIGURATION)
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
        case OutageError(setting=str() as setting):
            return CommandError(setting, failed.message, ErrorCode.OUTAGE)
        case WorkerError():
            return CommandError("service", failed.message, "UNAVAILABLE", UNAVAILABLE)
    return None


def _down(variable: str, what: str, failed: Exception) -> CommandError:
    # The message becomes one line: psycopg puts its hints on lines of their own.
    why = " ".join(str(failed).split())
    return CommandError(variable, f"{what}: {why}; mirt doctor", "UNAVAILABLE", UNAVAILABLE)
