"""``mirt inspect``: what is stuck, why, since when, whose turn it is, and what mends it.

Everything is read from the database, which every worker reports to: it works with any number of
machines, and in the embedded mode beside ``mirt up``.
"""

import typer

from service.cli.inspect.active import active
from service.cli.inspect.overview import overview
from service.cli.inspect.registered import registered
from service.cli.inspect.stats import queues, stats

__all__ = ["inspect"]

inspect = typer.Typer(
    help="What is going on. Without a further word: what is wrong, who waits and why.",
    invoke_without_command=True,
    add_completion=False,
)
inspect.callback()(overview)
for command in (active, stats, queues, registered):
    inspect.command()(command)
