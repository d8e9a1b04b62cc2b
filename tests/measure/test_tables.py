"""Tests of the text tables."""

from service.measure.tables import table


def test_a_table_has_columns_as_wide_as_they_need() -> None:
    assert table(("A", "B"), [("long", "x"), ("s", "y")]) == "A     B\nlong  x\ns     y"
