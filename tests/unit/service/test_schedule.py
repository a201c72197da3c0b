"""The schedule shows how the run of the last tick of each task has ended."""

import pytest
from sqlalchemy import update

from actors.housekeeping import sweep_mailboxes
from middleware.ticks import run_id
from mirt.store.queue.ticks import last_ticks
from mirt.store.tables import tasks
from service.admin.schedule import schedule
from tests.unit.service.admin_ui.conftest import Come, come, here
from tests.unit.service.conftest import Ingress

__all__ = ["come", "here"]


@pytest.fixture
def ticked(here: Ingress) -> str:
    """Send a tick, which the eager broker runs; return the id of the run of the sweep."""
    now = here.runtime.clock()
    sweep_mailboxes.send_with_options(scheduled_at=str(now))
    with here.runtime.database.transaction() as tx:
        return run_id("sweep_mailboxes", last_ticks(tx)["sweep_mailboxes"])


def change(here: Ingress, task_id: str, **values: object) -> None:
    with here.runtime.database.transaction() as tx:
        assert tx.execute(update(tasks).where(tasks.c.id == task_id).values(values)).rowcount == 1


def in_words(here: Ingress) -> str | None:
    [sweep] = [one for one in schedule(here.runtime) if one.task == "sweep_mailboxes"]
    return sweep.last_run.in_words if sweep.last_run else None


def test_a_run_that_has_ended_is_shown_with_its_seconds_and_its_trace(
    here: Ingress, come: Come, ticked: str
) -> None:
    [sweep] = [one for one in schedule(here.runtime) if one.task == "sweep_mailboxes"]
    assert sweep.last_run is not None
    assert (sweep.last_run.task_id, sweep.last_run.state) == (ticked, "done")
    assert in_words(here) == f"done in {sweep.last_run.took_s:.1f}".removesuffix(".0") + " s"
    page = come().get("/ops/schedule").text
    assert f">{in_words(here)}</a>" in page
    assert "/ops/trace?id=sweep_mailboxes%40" in page


def test_a_run_that_died_leads_to_its_dead_letter(here: Ingress, come: Come, ticked: str) -> None:
    change(here, ticked, state="dead", error_code="TIME_LIMIT")
    assert in_words(here) == "dead (TIME_LIMIT)"
    page = come().get("/ops/schedule").text
    assert "/ops/dead/letter?id=sweep_mailboxes%40" in page
    assert ">TIME_LIMIT</a>" in page


def test_a_run_that_goes_on_is_shown_as_it_is(here: Ingress, come: Come, ticked: str) -> None:
    change(here, ticked, state="running", finished_at=None)
    assert in_words(here) == "running"
    assert ">running</a>" in come().get("/ops/schedule").text


def test_a_run_whose_row_is_removed_is_not_shown(here: Ingress, come: Come, ticked: str) -> None:
    with here.runtime.database.transaction() as tx:
        tx.execute(tasks.delete())
    assert in_words(here) is None
    assert come().get("/ops/schedule").status_code == 200
