"""A group of commands whose modules are imported only when they are called.

So the help of the group, the completion of command names, and each command load no more than they
need.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from importlib import import_module
from typing import Any, ClassVar

import typer
from typer.core import TyperCommand, TyperGroup
from typing_extensions import override


@dataclass(frozen=True, slots=True)
class CommandSpec:
    """A command: its name, its function as ``module:attribute``, and its help in one line.

    A brief command ends after a few queries; see ``service.processes.garbage_collector``.
    """

    name: str
    where: str
    help: str
    is_brief: bool = False


class LazyGroup(TyperGroup):
    """Group with a stub for each of its ``specs``; a command replaces its stub when it is called.

    A subclass sets ``specs``.
    """

    specs: ClassVar[Sequence[CommandSpec]] = ()

    def __init__(self, **options: Any) -> None:
        super().__init__(**options)
        self._unloaded = {spec.name: spec.where for spec in self.specs}
        for spec in self.specs:
            self.commands[spec.name] = TyperCommand(spec.name, help=spec.help)

    @override
    def resolve_command(self, ctx: Any, args: list[str]) -> Any:
        if where := self._unloaded.pop(args[0], None):
            self.commands[args[0]] = _load(args[0], where)
        return super().resolve_command(ctx, args)


def _load(name: str, where: str) -> Any:
    module, _, attribute = where.partition(":")
    found = getattr(import_module(module), attribute)
    if isinstance(found, typer.Typer):
        group: Any = typer.main.get_group(found)
        group.name = name
        return group
    single = typer.Typer(add_completion=False, pretty_exceptions_enable=False)
    single.command(name)(found)
    return typer.main.get_command(single)
