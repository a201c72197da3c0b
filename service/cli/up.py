"""``mirt up``: the whole service in one process."""

from mirt.observe.logs import configure
from mirt.settings import Mode
from service.cli.options import Port
from service.processes import embedded
from service.processes.startup import DEFAULT_PORT, read_settings, refuse, with_ops_token


def up(port: Port = DEFAULT_PORT) -> None:
    """Run everything in one process, on loopback: ingress, workers and schedule."""
    # Messages and replies are shown as they happen; the lines between would hide them.
    settings = read_settings(quiet=True)
    if settings.mode is not Mode.EMBEDDED:
        refuse(
            "mirt up is for one process without RabbitMQ:",
            "RABBITMQ_URL is set; start the processes of the Procfile, or unset it",
        )
    made = with_ops_token(settings)
    configure(made)
    embedded.run(made, port=port, token_is_made=made is not settings)
