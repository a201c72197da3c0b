"""Every name under which our code writes a line, read from the code."""

import ast
from collections.abc import Iterator
from pathlib import Path
from typing import Final

ROOT: Final = Path(__file__).parents[1]
ROOMS: Final = ("service", "actors", "broker", "middleware", "mirt")
WRITING: Final = {"debug", "info", "warning", "error", "critical", "exception"}


def events() -> dict[str, str]:
    """Names, and the file each is written in."""
    found = {}
    for room in ROOMS:
        for path in sorted((ROOT / room).rglob("*.py")):
            for name in _in(ast.parse(path.read_text(encoding="utf-8"))):
                found[name] = str(path.relative_to(ROOT))
    return found


def _in(tree: ast.AST) -> Iterator[str]:
    for node in ast.walk(tree):
        if isinstance(node, ast.Call) and node.args and _writes(node.func):
            for part in ast.walk(node.args[0]):
                if isinstance(part, ast.Constant) and isinstance(part.value, str):
                    yield part.value


def _writes(function: ast.expr) -> bool:
    if isinstance(function, ast.Attribute) and function.attr in WRITING:
        return isinstance(function.value, ast.Name) and function.value.id == "log"
    return isinstance(function, ast.Name) and function.id == "write"
