"""A plot can be read without seeing it: by its sentence and by its table."""

from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest

from mirt.store.reports.overview import Minute
from service.admin_ui.charts import Plot, plots
from tests.unit.service.admin_ui.style import STYLE, contrast

NOON = datetime(2026, 7, 1, 12, tzinfo=UTC)
MINUTES = [
    Minute(NOON),
    Minute(NOON + timedelta(minutes=1), answered=1_200, mean_s=0.4, slowest_s=75),
    Minute(NOON + timedelta(minutes=2), failed=3),
]


@pytest.mark.parametrize("plot", plots(MINUTES, UTC), ids=lambda plot: str(plot.name))
def test_every_bar_has_a_row_in_the_table_of_its_plot(plot: Plot) -> None:
    bars = [bar for bar in plot.bars if bar.height]
    assert len(plot.rows) == len(bars) > 0
    assert {len(values) for _, values in plot.rows} == {len(plot.columns)}


def test_a_table_has_the_values_of_its_minutes() -> None:
    answered, latency, failed = plots(MINUTES, UTC)
    assert answered.rows == [(MINUTES[1].at, ("1,200",))]
    assert latency.rows == [(MINUTES[1].at, ("0.4 s", "75 s"))]
    assert failed.rows == [(MINUTES[2].at, ("3",))]


def test_the_times_of_a_plot_are_in_the_zone_of_the_operator() -> None:
    answered, *_ = plots(MINUTES, ZoneInfo("Europe/Kyiv"))
    assert "(15:01)" in answered.says
    assert [bar.says for bar in answered.bars if bar.says] == ["15:01: 1200 answered"]


@pytest.mark.parametrize("theme", STYLE)
@pytest.mark.parametrize("bar", ["whole", "part", "slow-whole", "slow-part", "bad-bar"])
def test_every_bar_stands_out_from_the_paper(theme: str, bar: str) -> None:
    assert contrast(STYLE[theme][bar], STYLE[theme]["paper"]) >= 3


@pytest.mark.parametrize("theme", STYLE)
def test_the_mean_stands_out_from_the_slowest_that_it_is_drawn_on(theme: str) -> None:
    assert contrast(STYLE[theme]["slow-part"], STYLE[theme]["slow-whole"]) >= 3


@pytest.mark.parametrize("theme", STYLE)
@pytest.mark.parametrize("ground", ["paper", "page"])
@pytest.mark.parametrize("part", ["edge", "accent"])
def test_fields_buttons_dots_and_the_focus_stand_out(theme: str, ground: str, part: str) -> None:
    assert contrast(STYLE[theme][part], STYLE[theme][ground]) >= 3
