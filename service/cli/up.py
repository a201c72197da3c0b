"""``mirt up``: the whole service in one process."""

from mirt.observe.logs import configure
from mirt.settings import Mode
from service.cli.options import Port
from service.processes import embedded
from service.processes.startup import DEFAULT_PORT, read_settings, refuse, with_ops_token


def up(port: Port = DEFAULT_PORT) -> None:
    """Run ingress, worker and schedule in one process, on loopback."""
    # Messages and replies are printed as they happen; other log lines would hide them.
    settings = read_settings(quiet=True)
    if settings.mode is not Mode.EMBEDDED:
        refuse(
            "mirt up is for one process without RabbitMQ:",
            "RABBITMQ_URL is set; start the processes of the Procfile, or unset it",
        )
    complete = with_ops_token(settings)
    # Again: a new token is a secret, which the log must redact.
    configure(complete)
    embedded.run(complete, port=port, token_is_made=complete is not settings)
