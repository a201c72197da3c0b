"""Makes connections to RabbitMQ: parameters with bounded waits, and readable errors."""

from typing import Final

from pika import URLParameters
from pika.adapters.utils.connection_workflow import AMQPConnectorException
from pika.exceptions import AMQPError

HEARTBEAT_S: Final = 10
"""After two silent intervals RabbitMQ gives the messages of a consumer to others."""
CONNECT_TIMEOUT_S: Final = 5
"""For the TCP connection, and again for the AMQP handshake."""

UNREACHABLE: Final = (AMQPError, AMQPConnectorException, OSError)
"""Errors of pika without a way to the server. A server that hangs raises the second one."""


def connection_parameters(url: str, *, name: str) -> URLParameters:
    """Return parameters with bounded waits. The management UI shows ``name``.

    Heartbeat and timeouts that the query of the URL sets stay as they are.
    """
    parameters = URLParameters(url)
    if "heartbeat" not in url:
        parameters.heartbeat = HEARTBEAT_S
    if "socket_timeout" not in url:
        parameters.socket_timeout = CONNECT_TIMEOUT_S
    if "stack_timeout" not in url:
        parameters.stack_timeout = CONNECT_TIMEOUT_S
    parameters.client_properties = {"connection_name": name}
    return parameters


def reason(failed: BaseException) -> str:
    """Describe an error of pika by the innermost error that it wraps."""
    while (inner := _inner(failed)) is not None:
        failed = inner
    return f"{type(failed).__name__}: {failed}" if str(failed) else type(failed).__name__


def _inner(failed: BaseException) -> BaseException | None:
    """Return the wrapped error; pika has three ways to wrap one."""
    wrapped = [*getattr(failed, "exceptions", ())[-1:], getattr(failed, "exception", None)]
    return next(
        (inner for inner in (*wrapped, *failed.args) if isinstance(inner, BaseException)), None
    )
