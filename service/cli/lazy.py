"""Commands that are named in a list, and loaded when they are called.

So the help of all of them, the completion of their names and each of them alone load no more than
they need.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from importlib import import_module
from typing import Any, ClassVar

import typer
from typer.core import TyperCommand, TyperGroup


@dataclass(frozen=True, slots=True)
class CommandSpec:
    """A command: its name, where it is (``module:attribute``), and what it does, in a line.

    A brief one is over as soon as it has looked.
    """

    name: str
    where: str
    help: str
    is_brief: bool = False


class LazyGroup(TyperGroup):
    """Puts the real command in the place of its line before it is called or completed."""

    lines: ClassVar[Sequence[CommandSpec]] = ()

    def __init__(self, **options: Any) -> None:
        super().__init__(**options)
        self._unloaded = {line.name: line.where for line in self.lines}
        for line in self.lines:
            self.commands[line.name] = TyperCommand(line.name, help=line.help)

    def resolve_command(self, ctx: Any, args: list[str]) -> Any:
        """The command that is meant by these arguments, loaded."""
        if where := self._unloaded.pop(args[0], None):
            self.commands[args[0]] = _loaded(args[0], where)
        return super().resolve_command(ctx, args)


def _loaded(name: str, where: str) -> Any:
    module, _, attribute = where.partition(":")
    found = getattr(import_module(module), attribute)
    if isinstance(found, typer.Typer):
        group: Any = typer.main.get_group(found)
        group.name = name
        return group
    alone = typer.Typer(add_completion=False, pretty_exceptions_enable=False)
    alone.command(name)(found)
    return typer.main.get_command(alone)
