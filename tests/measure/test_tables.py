"""Tests of the text tables."""

from service.measure.tables import table, text


def test_a_table_has_columns_as_wide_as_they_need() -> None:
    assert table(("A", "B"), [("long", "x"), ("s", "y")]) == "A     B\nlong  x\ns     y"


def test_tables_and_sentences_have_an_empty_line_between_them() -> None:
    assert text([(("A",), [("x",)]), "A sentence.", (("B",), [])]) == "A\nx\n\nA sentence.\n\nB"
