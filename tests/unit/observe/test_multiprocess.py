"""A family of processes is measured as one, however many of them come and go."""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from mirt.observe import multiprocess
from mirt.observe.instruments import LIVE_SUM, Counter, Gauge, Histogram
from mirt.observe.metrics import REGISTER
from mirt.observe.multiprocess import FamilyCollector, ProcessNumbers
from tests.scrape import Scrape
from tests.unit.observe.process_family import GENERATIONS


def family(scenario: str, folder: Path, **env: str) -> dict[str, Any]:
    """Return the last line of a family of processes, which has its result."""
    told = subprocess.run(
        [sys.executable, "-m", "tests.unit.observe.process_family", scenario, folder],
        env={**os.environ, **env},
        capture_output=True,
        check=False,
    )
    assert told.returncode == 0, told.stderr.decode()
    found: dict[str, Any] = json.loads(told.stdout)
    return found


def test_counters_never_fall_and_files_do_not_multiply_however_often_children_are_replaced(
    tmp_path: Path,
) -> None:
    assert family("generations", tmp_path) == {
        # Of the parent: counters, histograms and two kinds of gauges. Of all children: two more.
        "most_files": 6,
        "fallen": [],
        "webhooks": GENERATIONS,
        "turns": GENERATIONS,
        "slow_turns": 0,
        "starts": GENERATIONS,
        "threads": 0,
        "processes": 0,
        "recycles": 1,
    }


def test_the_gauges_of_a_dead_worker_vanish_and_its_counters_stay(
    tmp_path: Path,
) -> None:
    found = family("at_once", tmp_path)
    assert found == {"seats": ["0", "1", "2", "1"], "threads": 8, "webhooks": 3}


def test_a_child_whose_folder_is_removed_works_on(tmp_path: Path) -> None:
    folder = tmp_path / "family"
    folder.mkdir()
    assert family("orphan", folder) == {"ended_well": True}


def test_a_program_that_finds_its_folder_in_the_environment_measures_there(tmp_path: Path) -> None:
    found = family("environment", tmp_path, **{multiprocess.FOLDER: str(tmp_path)})
    assert found["ticks"] == 1
    assert found["files"] >= 1


def test_nothing_of_it_is_needed_to_import_the_business() -> None:
    env = {name: value for name, value in os.environ.items() if name != multiprocess.FOLDER}
    modules = "mirt.observe.metrics, mirt.runtime, mirt.observe.multiprocess as s"
    code = f"import {modules}; s.measured_here()"
    assert subprocess.run([sys.executable, "-c", code], env=env, check=False).returncode == 0


@pytest.mark.parametrize("kind", [Counter, Gauge, Histogram])
def test_joining_opens_every_file_because_each_kind_has_a_metric_without_labels(
    kind: type[Counter | Gauge | Histogram],
) -> None:
    assert [m for m in REGISTER.values() if isinstance(m, kind) and not m.labels]


def test_a_file_that_is_being_made_is_not_read_yet(tmp_path: Path) -> None:
    (tmp_path / f"gauge_{LIVE_SUM}_0.db").touch()
    assert list(FamilyCollector(tmp_path).collect()) == []


def test_no_two_have_a_seat_at_once(tmp_path: Path) -> None:
    seats = ProcessNumbers(tmp_path)
    assert [seats.take() for _ in range(3)] == ["0", "1", "2"]
    seats.leave("0")
    seats.leave("2")
    assert [seats.take() for _ in range(3)] == ["0", "2", "3"]


def test_a_scrape_is_compared_with_the_one_before() -> None:
    before = Scrape.of("# TYPE a_total counter\na_total 2\n# TYPE b gauge\nb 2\n")
    after = Scrape.of("# TYPE a_total counter\na_total 1\n# TYPE b gauge\nb 1\n")
    assert after.fallen_since(before) == ["a_total{}: 2 → 1"]
