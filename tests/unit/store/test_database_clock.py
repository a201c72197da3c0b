"""The clock of the database, as readings tell it to a machine whose own clock may be wrong."""

from datetime import UTC, datetime, timedelta

import pytest

from mirt.errors import DatabaseError
from mirt.store.engine.database_clock import DatabaseClock

TRUE_S = 1_800_000_000.0


class World:
    """A server that is right, and a machine whose steady clock counts from somewhere."""

    def __init__(self) -> None:
        self.steady_s = 50.0
        self.wall_ahead = timedelta(seconds=60)
        self.readings = 0
        self.clock = DatabaseClock(self.read, steady=lambda: self.steady_s, system=self.wall)

    def wall(self) -> datetime:
        return self.server() + self.wall_ahead

    def server(self) -> datetime:
        return datetime.fromtimestamp(TRUE_S + self.steady_s - 50, UTC)

    def read(self, *, way_s: float = 0.0, way_back_s: float = 0.0) -> None:
        """Make a transaction; the reading is taken after the way to the server."""
        self.readings += 1
        asked_at = self.steady_s
        self.steady_s += way_s
        server_s = self.server().timestamp()
        self.steady_s += way_back_s
        self.clock.heard(server_s, asked_at=asked_at, answered_at=self.steady_s)


@pytest.fixture
def world() -> World:
    return World()


def test_the_time_is_the_servers_whatever_the_machine_says(world: World) -> None:
    assert world.clock() == world.server()
    assert world.clock.ahead_s() == 60


def test_the_first_use_reads_and_the_later_ones_do_not(world: World) -> None:
    world.clock()
    world.steady_s += 10
    assert world.clock() == world.server()
    assert world.readings == 1


def test_a_clock_that_is_set_meanwhile_changes_nothing(world: World) -> None:
    world.clock()
    world.wall_ahead = timedelta(hours=-1)
    assert world.clock() == world.server()
    assert world.clock.ahead_s() == -3600


def test_a_slow_answer_moves_no_clock_that_was_right(world: World) -> None:
    world.clock()
    world.read(way_s=7.0)
    assert world.clock() == world.server()
    world.read(way_back_s=7.0)
    assert world.clock() == world.server()


def test_a_first_slow_reading_is_put_right_by_the_next_quick_one(world: World) -> None:
    world.read(way_s=8.0)
    assert abs(world.clock() - world.server()) == timedelta(seconds=4)
    world.read()
    assert world.clock() == world.server()


def test_after_a_failover_to_a_server_with_another_clock_its_time_counts(world: World) -> None:
    world.clock()
    moved = world.server().timestamp() + 30
    world.clock.heard(moved, asked_at=world.steady_s, answered_at=world.steady_s)
    assert world.clock() == world.server() + timedelta(seconds=30)


def test_without_any_reading_there_is_no_time() -> None:
    def away() -> None:
        raise DatabaseError("away")

    with pytest.raises(DatabaseError):
        DatabaseClock(away)()
