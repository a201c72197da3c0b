"""The documentation has the table that the tests go through."""

from tests.deployment import ROOT
from tests.interleavings.table import table


def test_the_guarantees_have_the_table_of_points() -> None:
    assert table() in (ROOT / "docs/guarantees.md").read_text()
