"""How this service connects to RabbitMQ: parameters with bounded waits."""

from typing import Final

from pika import URLParameters
from pika.adapters.utils.connection_workflow import AMQPConnectorException
from pika.exceptions import AMQPError

HEARTBEAT_S: Final = 10
"""RabbitMQ gives what a silent consumer holds to others after two of them."""
CONNECT_TIMEOUT_S: Final = 5

UNREACHABLE: Final = (AMQPError, AMQPConnectorException, OSError)
"""What pika raises when there is no way to the server; one that hangs is the second of them."""


def connection_parameters(url: str, *, name: str) -> URLParameters:
    """Parameters with bounded waits. ``name`` is what the management UI shows.

    What the URL's own query sets (heartbeat, timeouts) stays as it is.
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
    """What an error of pika is about: the innermost of those that it has wrapped."""
    while (inner := _inner(failed)) is not None:
        failed = inner
    return f"{type(failed).__name__}: {failed}" if str(failed) else type(failed).__name__


def _inner(failed: BaseException) -> BaseException | None:
    """What pika has wrapped, in one of its three ways."""
    wrapped = [*getattr(failed, "exceptions", ())[-1:], getattr(failed, "exception", None)]
    found = next((one for one in (*wrapped, *failed.args) if isinstance(one, BaseException)), None)
    return found if isinstance(found, BaseException) else None
