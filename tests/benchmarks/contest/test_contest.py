"""Tests of the comparison of contestants."""

from benchmarks.contest.__main__ import markdown, ratios
from tests.measure.load.trials import make_trial


def test_the_reference_is_held_against_each_within_each_repeat() -> None:
    repeats = [
        {"ours": make_trial(16, 1000, 0.0), "theirs": make_trial(16, 500, 0.0)},
        {"ours": make_trial(16, 300, 0.0), "theirs": make_trial(16, 200, 0.0, errors=2)},
        {"ours": make_trial(16, 800, 0.0)},  # theirs failed
    ]

    assert ratios(repeats, "ours") == [
        ("ours", "800.0", "1.00", "1.00", "1.00", "0"),
        ("theirs", "350.0", "1.50", "1.75", "2.00", "2"),
    ]


def test_a_contestant_without_a_repeat_in_common_with_the_reference_has_no_ratio() -> None:
    repeats = [{"ours": make_trial(16, 100, 0.0)}, {"theirs": make_trial(16, 100, 0.0)}]

    assert ratios(repeats, "ours")[1] == ("theirs", "100.0", "-", "-", "-", "0")


def test_the_rows_become_a_table() -> None:
    assert markdown([("ours", "10.0", "1.00", "1.00", "1.00", "0")], "ours").splitlines()[2].startswith("| ours | 10.0")
