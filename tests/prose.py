"""The words that this project does not write: ``python -m tests.prose [FILE ...]``, in lint.

Reads docstrings, attribute docstrings, comments, the descriptions of settings, the names of tests
and every page of documentation. Prints file, line and word for each hit, and exits with 1.
"""

import ast
import io
import re
import subprocess
import sys
import tokenize
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

ROOT: Final = Path(__file__).parents[1]
GENERATED: Final = ("mirt/store/migrations/versions/",)

REFUSED: Final = {
    "whoever": r"\bwhoever\b",
    "whom": r"\bwhom\b",
    "whosoever": r"\bwhos\w*soever\b",
    "how manieth": r"manieth",
    "is to be": r"\b(is|are|was|were|be) to be\b",
    "of which": r"\bof which\b",
    "who waits": r"\b(who|what)( else)? waits?\b",
    "nobody": r"\b(no|some|any)body\b",
}
"""Words and turns of phrase, each with its pattern; found in any case."""
FIRST_WORDS: Final = re.compile(r"\A\W*(Who|Whoever|Those|It|They|What)\b")
"""No docstring begins with a pronoun: its reader does not know yet what it stands for."""
PRONOUN_TESTS: Final = re.compile(r"\Atest_(it|they|who|those|both|what)_")
"""A failing report shows the name of a test alone, so the name has a subject."""

_REFUSED: Final = {word: re.compile(pattern, re.IGNORECASE) for word, pattern in REFUSED.items()}


@dataclass(frozen=True, slots=True)
class Hit:
    """A refused word: the file, the line from 1, and the word."""

    path: str
    line: int
    word: str

    def __str__(self) -> str:
        return f"{self.path}:{self.line}: {self.word}"


def hits_in_python(path: str, source: str) -> Iterator[Hit]:
    """Find refused words in the prose of a module, and test names without a subject."""
    for node in ast.walk(ast.parse(source)):
        for line, text in _prose_of(node):
            yield from _hits(path, line, text)
            if first := FIRST_WORDS.match(text):
                yield Hit(path, line, f"begins with {first[1]}")
        if isinstance(node, ast.FunctionDef) and PRONOUN_TESTS.match(node.name):
            yield Hit(path, node.lineno, f"no subject: {node.name}")
    for token in tokenize.generate_tokens(io.StringIO(source).readline):
        if token.type == tokenize.COMMENT:
            yield from _hits(path, token.start[0], token.string)


def hits_in_text(path: str, text: str) -> Iterator[Hit]:
    """Find refused words in a page of documentation."""
    return _hits(path, 1, text)


def _prose_of(node: ast.AST) -> Iterator[tuple[int, str]]:
    """Docstrings and attribute docstrings of a body, and the description of a setting."""
    body = getattr(node, "body", None)
    for statement in body if isinstance(body, list) else ():
        match statement:
            case ast.Expr(value=ast.Constant(value=str(text))):
                yield statement.lineno, text
    match node:
        case ast.keyword(arg="description", value=ast.Constant(value=str(text), lineno=line)):
            yield line, text


def _hits(path: str, first_line: int, text: str) -> Iterator[Hit]:
    for word, pattern in _REFUSED.items():
        for found in pattern.finditer(text):
            yield Hit(path, first_line + text.count("\n", 0, found.start()), word)


def check(paths: list[str]) -> list[Hit]:
    """Check these files; the others than Python and Markdown are left out."""
    hits: list[Hit] = []
    for path in paths:
        text = (ROOT / path).read_text(encoding="utf-8")
        if path.endswith(".py"):
            hits += hits_in_python(path, text)
        elif path.endswith(".md"):
            hits += hits_in_text(path, text)
    return hits


def tracked() -> list[str]:
    """Return every file of the checkout that is written by hand."""
    listed = subprocess.run(
        ["git", "ls-files", "--cached", "--others", "--exclude-standard", "*.py", "*.md"],
        cwd=ROOT,
        check=True,
        capture_output=True,
        text=True,
    )
    files = listed.stdout.splitlines()
    return [one for one in files if not one.startswith(GENERATED) and (ROOT / one).is_file()]


def main() -> int:
    """Check the named files, or all; return the exit code."""
    hits = check(sys.argv[1:] or tracked())
    for hit in hits:
        print(hit)
    return 1 if hits else 0


if __name__ == "__main__":
    sys.exit(main())
