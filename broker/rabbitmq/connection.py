"""Makes connections to RabbitMQ: parameters with bounded waits, and readable errors."""

import re
from dataclasses import dataclass, field
from typing import Final, Self
from urllib.parse import parse_qs, urlsplit

from pika import URLParameters
from pika.adapters.utils.connection_workflow import AMQPConnectorException
from pika.exceptions import AMQPError

from mirt.errors import ServerUrlError
from mirt.settings import Settings

HEARTBEAT_S: Final = 10
"""After two silent intervals RabbitMQ gives the messages of a consumer to others."""
CONNECT_TIMEOUT_S: Final = 5
"""For the TCP connection, and again for the AMQP handshake."""

UNREACHABLE: Final = (AMQPError, AMQPConnectorException, OSError)
"""Errors of pika without a way to the server. A server that hangs raises the second one."""


@dataclass(frozen=True, slots=True)
class ConnectionSettings:
    """The address of RabbitMQ, and the waits of a connection in seconds.

    Everything that connects to RabbitMQ takes this object, so a new option of the connection
    changes ``mirt.settings`` and this class only. Heartbeat and timeouts in the query of the URL
    win over those of this object.
    """

    url: str = field(repr=False)
    heartbeat_s: int = HEARTBEAT_S
    timeout_s: int = CONNECT_TIMEOUT_S

    @classmethod
    def of(cls, settings: Settings) -> Self:
        """Read the connection from the settings.

        Raises:
            ValueError: there is no RABBITMQ_URL: the service runs in the embedded mode.
            ServerUrlError: pika does not take an option of the URL.
        """
        if settings.rabbitmq_url is None:
            raise ValueError("RABBITMQ_URL is not set")
        connection = cls(settings.rabbitmq_url.get_secret_value())
        try:
            connection.parameters("")
        except (ValueError, TypeError, SyntaxError, OSError) as refused:
            raise ServerUrlError("RABBITMQ_URL", _option_problem(refused)) from None
        return connection

    def parameters(self, name: str) -> URLParameters:
        """Return pika's parameters of a connection that the management UI shows as ``name``."""
        parameters = URLParameters(self.url)
        named = parse_qs(urlsplit(self.url).query)
        if "heartbeat" not in named:
            parameters.heartbeat = self.heartbeat_s
        if "socket_timeout" not in named:
            parameters.socket_timeout = self.timeout_s
        if "stack_timeout" not in named:
            parameters.stack_timeout = self.timeout_s
        parameters.client_properties = {"connection_name": name}
        return parameters


def _option_problem(refused: Exception) -> str:
    """Return what pika says about an option, without the Python error that it ends with."""
    if not isinstance(refused, ValueError):
        return f"ssl_options or tcp_options: {refused}"
    said = re.sub(r": \w+Error\(.*", "", str(refused))
    unknown = re.fullmatch(r"Unknown URL parameter: '(.+)'", said)
    return f'RabbitMQ knows no option "{unknown[1]}"' if unknown else said


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
