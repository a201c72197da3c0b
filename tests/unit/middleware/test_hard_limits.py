"""What a child writes down for its parent can be read there."""

from pathlib import Path

from middleware.hard_limits import DeadlineTable, RunningTask
from middleware.policy import LONGEST_TASK_ID


def test_the_longest_id_of_a_task_is_read_whole(tmp_path: Path) -> None:
    longest = "🧸" * LONGEST_TASK_ID
    DeadlineTable(tmp_path / "deadlines", rows=2).set(1, longest, 7, until=1.0)
    assert list(DeadlineTable(tmp_path / "deadlines", rows=2).overdue(2.0)) == [
        RunningTask(longest, 7)
    ]
