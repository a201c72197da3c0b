"""The files by which a worker is known to be well do not outlive it."""

import os
import tempfile
from pathlib import Path

import pytest

from service.processes import heartbeat
from service.processes.heartbeat import PREFIX, Heartbeat, check, expect, new_folder
from tests.polling import wait_until


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    return tmp_path


@pytest.mark.parametrize("pid", [os.getpid(), 2**22 + 1], ids=["ours", "nobody"])
def test_the_files_of_a_dead_parent_are_removed_even_if_it_had_our_pid(
    folder: Path, pid: int
) -> None:
    left = folder / f"{PREFIX}{pid}-old"
    left.mkdir()
    ours = new_folder()
    assert not left.exists()
    assert ours.exists()


def test_the_files_of_a_living_parent_stay(folder: Path) -> None:
    used = folder / f"{PREFIX}{os.getppid()}-used"
    used.mkdir()
    new_folder()
    assert used.exists()


def test_where_nobody_works_the_check_says_so(folder: Path) -> None:
    assert check() == ["no worker is running here"]


def test_a_child_that_has_not_worked_yet_is_named_beside_one_that_has(folder: Path) -> None:
    ours = new_folder()
    for child in ("0", "1"):
        expect(ours / child)
    (ours / "0").touch()
    assert check() == [f"{ours.name}: worker slot 1 has not been ready yet"]


def test_a_beat_that_fails_is_not_the_last_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(heartbeat, "EVERY_S", 0.01)
    failures = [OSError("no space left on device")] * 3

    def faults() -> list[str]:
        if failures:
            raise failures.pop()
        return []

    expect(file := tmp_path / "0")
    beating = Heartbeat(file, faults)
    beating.start()
    wait_until(lambda: file.stat().st_mtime > 0)
    beating.stop()
