"""``mirt inspect``: shows what is stuck, why, since when, behind which task, and the remedy.

Everything is read from the database, to which every worker reports. So it works for any number of
machines, and in the embedded mode beside ``mirt up``. Each function imports what it reads with, so
that the help and the completion of names load no database driver.
"""

import typer

from service.cli.inspect.active import active
from service.cli.inspect.overview import overview
from service.cli.inspect.registered import registered
from service.cli.inspect.stats import queues, stats

__all__ = ["inspect"]

inspect = typer.Typer(
    help="Show what is going on. Without a sub-command: what is wrong, and which customers wait.",
    invoke_without_command=True,
    add_completion=False,
)
inspect.callback()(overview)
for command in (active, stats, queues, registered):
    inspect.command()(command)
