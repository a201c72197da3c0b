"""The command ``mirt``: one file for each command, and app.py with the list of all commands.

context.py opens what a command needs. output.py prints, options.py has shared options, errors.py
maps errors to exit codes.
"""

from service.cli.app import main

__all__ = ["main"]
