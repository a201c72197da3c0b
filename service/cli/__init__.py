"""The command ``mirt``: one file for each command, and app.py with the list of all commands.

context.py opens what a command needs. output.py prints, options.py has shared options, errors.py
maps errors to exit codes.
"""

import sys

__all__ = ["main"]

HEALTH_CHECK = ["worker", "--check"]
"""Arguments of the health check that every container of workers runs each few seconds."""


def main() -> None:
    """Run the command line.

    The health check is answered without the argument parser, whose import costs several times the
    CPU of the check itself.
    """
    if sys.argv[1:] == HEALTH_CHECK:
        from service.processes import heartbeat

        sys.exit(heartbeat.report())
    from service.cli import app

    app.main()
