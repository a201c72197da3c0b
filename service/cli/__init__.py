"""The command ``mirt``: one file a command, gathered here."""

from service.cli.app import main

__all__ = ["main"]
