"""What an error of the service is to whoever typed a command."""

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
from service.cli.errors import CommandError
from service.exit_codes import CONFIGURATION, UNAVAILABLE, USAGE, WRONG


def translated(failed: Exception) -> CommandError | None:
    """The error as it is told; None when it is a bug."""
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


def _down(variable: str, what: str, failed: WorkerError) -> CommandError:
    # One line: psycopg puts hints on lines of their own.
    why = " ".join(failed.message.split())
    return CommandError(variable, f"{what}: {why}; mirt doctor", "UNAVAILABLE", UNAVAILABLE)
