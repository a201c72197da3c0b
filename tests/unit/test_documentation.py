"""The documents speak of what is there, and of all of it."""

import re
import subprocess
import sys
from pathlib import Path

import pytest

from middleware.policy import QUEUES, TASKS
from mirt.errors import ErrorCode
from mirt.settings import Settings
from service.cli.app import COMMANDS
from service.web.errors import Code
from tests.events import events

ROOT = Path(__file__).parents[2]
PAGES = sorted([*ROOT.glob("*.md"), *ROOT.glob("docs/**/*.md")])
ALL = "\n".join(page.read_text(encoding="utf-8") for page in PAGES)


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
    assert f"`{code}`" in (ROOT / "docs/operations.md").read_text(encoding="utf-8")


@pytest.mark.parametrize("event", events())
def test_every_line_of_the_log_is_explained(event: str) -> None:
    assert f"`{event}`" in (ROOT / "docs/operations.md").read_text(encoding="utf-8")


@pytest.mark.parametrize("name", [*QUEUES, *TASKS])
def test_every_queue_and_task_is_documented(name: str) -> None:
    assert f"`{name}`" in (ROOT / "docs/operations.md").read_text(encoding="utf-8")


@pytest.mark.parametrize("command", [line.name for line in COMMANDS])
def test_every_command_is_documented(command: str) -> None:
    assert re.search(rf"mirt (\w+ \| )*{command}\b", ALL)


def test_every_target_of_make_is_documented() -> None:
    targets = re.findall(r"^([a-z]+):.*##", (ROOT / "Makefile").read_text(), re.MULTILINE)
    assert [t for t in targets if f"make {t}" not in ALL and t not in {"help", "clean"}] == []


def test_every_promise_names_tests_that_exist() -> None:
    rows = re.findall(r"^\| (G\d+) .*$", (ROOT / "docs/guarantees.md").read_text(), re.MULTILINE)
    assert rows == [f"G{n}" for n in range(1, 15)]
    for line in (ROOT / "docs/guarantees.md").read_text(encoding="utf-8").splitlines():
        if line.startswith("| G"):
            tests = re.findall(r"`(tests/[\w/.]+)`", line)
            assert tests, line
            assert [test for test in tests if not (ROOT / test).exists()] == []


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_no_link_leads_nowhere(page: Path) -> None:
    links = re.findall(r"\]\((?!https?:)([^)#]+)", page.read_text(encoding="utf-8"))
    assert [link for link in links if not (page.parent / link).exists()] == []
