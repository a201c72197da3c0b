"""Runs the worked example of CONTRIBUTING.md: its blocks, in a copy of the project."""

import ast
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
COPIED = ("actors", "broker", "middleware", "mirt", "service", "tests", "setup.cfg")
MOST_PLACES = 4

_BLOCK = re.compile(r"^```python\n# (\S+?)(?:: in (\w+))?\n(.*?)^```$", re.DOTALL | re.MULTILINE)
Block = tuple[str, str, str]
"""The path of a file, the name inside it after whose body the code goes or "", and the code."""


def blocks() -> list[Block]:
    page = (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8")
    section = page.partition("## Adding a task")[2].partition("\n## ")[0]
    return _BLOCK.findall(section)


@pytest.fixture
def copy(tmp_path: Path) -> Path:
    """A copy of the product and its tests, with the blocks in their places."""
    for name in COPIED:
        source = ROOT / name
        if source.is_dir():
            shutil.copytree(source, tmp_path / name)
        else:
            shutil.copy2(source, tmp_path)
    for path, inside, code in blocks():
        apply(tmp_path / path, inside, code)
    return tmp_path


def apply(file: Path, inside: str, code: str) -> None:
    """Put the imports of a block behind those of the file, and the rest into its place."""
    if not file.exists():
        file.write_text(code, encoding="utf-8")
        return
    lines = file.read_text(encoding="utf-8").splitlines()
    tree = ast.parse("\n".join(lines))
    end = _end_of(tree, inside) if inside else len(lines)
    imports = [line for line in code.splitlines() if re.match(r"from |import ", line)]
    body = [line for line in code.splitlines() if line not in imports]
    lines[end:end] = body
    last = max(n.end_lineno or 0 for n in tree.body if isinstance(n, ast.Import | ast.ImportFrom))
    lines[last:last] = imports
    file.write_text("\n".join(lines) + "\n", encoding="utf-8")


def _end_of(tree: ast.Module, name: str) -> int:
    for node in tree.body:
        match node:
            case ast.ClassDef(name=found, end_lineno=int(end)) if found == name:
                return end
            case ast.AnnAssign(target=ast.Name(id=found), value=ast.DictComp(generators=[entries])):
                if found == name and isinstance(entries.iter, ast.Tuple):
                    return entries.iter.elts[-1].end_lineno or 0
    raise AssertionError(f"there is no {name}")


def test_a_task_takes_four_places() -> None:
    paths = [path for path, _, _ in blocks()]
    assert len(paths) == len(set(paths)) == MOST_PLACES
    assert paths[0] == "middleware/policy.py"


def test_the_example_in_contributing_runs_as_it_is_written(copy: Path) -> None:
    example = blocks()[-1][0]
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", example]
    environment = {**os.environ, "PYTHONPATH": str(copy)}
    ran = subprocess.run(
        command, cwd=copy, env=environment, capture_output=True, text=True, check=False
    )
    assert ran.returncode == 0, ran.stdout + ran.stderr
    assert "2 passed" in ran.stdout
