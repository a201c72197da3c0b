"""Checks that the documentation names only things that exist, and names all of them."""

import pkgutil
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from middleware.policy import QUEUES, TASKS, TaskPolicy
from mirt.errors import ErrorCode
from mirt.settings import Settings
from service.cli.app import COMMANDS
from service.web.errors import Code
from tests.events import events

ROOT = Path(__file__).parents[2]
PAGES = sorted([*ROOT.glob("*.md"), *ROOT.glob("docs/**/*.md")])
ALL = "\n".join(page.read_text(encoding="utf-8") for page in PAGES)
OPERATIONS = (ROOT / "docs/operations.md").read_text(encoding="utf-8")

PACKAGES = "service|actors|broker|middleware|mirt"
PATH = re.compile(
    rf"(?<![\w./-])((?:{PACKAGES}|tests|bench|docs|monitoring)/[\w./-]*"
    r"|[\w-]+\.(?:md|cfg|toml|lock|yml)|\.env\.example)"
)
"""A path of this repository: below one of its folders, or a file at its root."""
OBJECT = re.compile(rf"(?:{PACKAGES})(?:\.\w+)+")
"""A module of the product, or something in it."""
HISTORY = ROOT / "CHANGELOG.md"
"""Names what was there at its time."""
PLACEHOLDERS = {"tests/unit/service/test_report_backlog.py"}
"""The file that the worked example of CONTRIBUTING.md creates."""


def _code(page: Path) -> Iterator[str]:
    """Yield what a page sets in backticks, in a line or as a block."""
    text = page.read_text(encoding="utf-8")
    blocks = re.compile(r"^```.*?^```$", re.DOTALL | re.MULTILINE)
    yield from blocks.findall(text)
    yield from re.findall(r"`([^`\n]+)`", blocks.sub("", text))


def _anchors(page: Path) -> set[str]:
    """Return the anchors of a page's headings, as GitHub makes them."""
    headings = re.findall(r"^#+ (.*)$", page.read_text(encoding="utf-8"), re.MULTILINE)
    return {re.sub(r"[^\w -]", "", heading.lower()).replace(" ", "-") for heading in headings}


def test_the_page_of_settings_is_made_from_the_settings() -> None:
    program = "import configuration; print(configuration.page(), end='')"
    made = subprocess.run(
        [sys.executable, "-c", program], cwd=ROOT / "docs", capture_output=True, check=True
    )
    written = (ROOT / "docs/configuration.md").read_bytes()
    assert written == made.stdout, "run: python docs/configuration.py"


@pytest.mark.parametrize("name", Settings.model_fields)
def test_every_setting_is_in_the_example(name: str) -> None:
    assert f"{name.upper()}=" in (ROOT / ".env.example").read_text(encoding="utf-8")


@pytest.mark.parametrize("code", [*ErrorCode, *Code])
def test_every_error_code_is_explained(code: str) -> None:
    assert f"`{code}`" in OPERATIONS


@pytest.mark.parametrize("event", events())
def test_every_line_of_the_log_is_explained(event: str) -> None:
    assert f"`{event}`" in OPERATIONS


@pytest.mark.parametrize("name", QUEUES)
def test_every_queue_is_documented(name: str) -> None:
    assert f"`{name}`" in OPERATIONS


@pytest.mark.parametrize("task", TASKS.values(), ids=lambda task: str(task.name))
def test_every_task_is_documented_with_the_values_of_the_policy(task: TaskPolicy) -> None:
    apart = f"{task.retries}, up to {task.max_backoff_s:g} s apart" if task.retries else "–"
    schedule = f"`{task.schedule}`" if task.schedule else "–"
    limits = f"{task.soft_s:g}/{task.hard_s:g}"
    assert f"\n| `{task.name}` | `{task.queue}` | {limits} | {apart} | {schedule} | " in OPERATIONS


@pytest.mark.parametrize("command", [line.name for line in COMMANDS])
def test_every_command_is_documented(command: str) -> None:
    assert re.search(rf"mirt (\w+ \| )*{command}\b", ALL)


def test_every_target_of_make_is_documented() -> None:
    targets = re.findall(r"^([a-z]+):.*##", (ROOT / "Makefile").read_text(), re.MULTILINE)
    assert [t for t in targets if f"make {t}" not in ALL and t not in {"help", "clean"}] == []


def test_every_promise_names_its_tests() -> None:
    rows = re.findall(r"^\| (G\d+) .*$", (ROOT / "docs/guarantees.md").read_text(), re.MULTILINE)
    assert rows == sorted(set(rows), key=lambda name: int(name[1:]))
    assert {f"G{n}" for n in range(1, 15)} <= set(rows)
    for line in (ROOT / "docs/guarantees.md").read_text(encoding="utf-8").splitlines():
        if line.startswith("| G"):
            assert re.search(r"`tests/[\w/.]+`", line), line


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_no_link_leads_nowhere(page: Path) -> None:
    links = re.findall(r"\]\((?!https?:)([^)]+)\)", page.read_text(encoding="utf-8"))
    for link in links:
        path, _, anchor = link.partition("#")
        target = page.parent / path if path else page
        assert target.exists(), link
        assert not anchor or anchor in _anchors(target), link


@pytest.mark.parametrize(
    "page", [p for p in PAGES if p != HISTORY], ids=lambda page: str(page.relative_to(ROOT))
)
def test_every_path_in_backticks_exists(page: Path) -> None:
    paths = {path.rstrip("/.") for code in _code(page) for path in PATH.findall(code)}
    assert sorted(path for path in paths - PLACEHOLDERS if not (ROOT / path).exists()) == []


@pytest.mark.parametrize(
    "page", [p for p in PAGES if p != HISTORY], ids=lambda page: str(page.relative_to(ROOT))
)
def test_every_name_of_the_product_in_backticks_exists(page: Path) -> None:
    for code in _code(page):
        if OBJECT.fullmatch(code):
            pkgutil.resolve_name(code)


def test_every_folder_of_the_product_is_in_the_architecture() -> None:
    listed = subprocess.run(
        ["git", "ls-files", "*.py"], cwd=ROOT, check=True, capture_output=True, text=True
    ).stdout.splitlines()
    product = PACKAGES.split("|")
    folders = {str(Path(file).parent) for file in listed if file.split("/")[0] in product}
    architecture = (ROOT / "docs/architecture.md").read_text(encoding="utf-8")
    expected = {folder for folder in folders if "migrations/" not in folder}
    assert sorted(folder for folder in expected if f"`{folder}/`" not in architecture) == []
