"""Tests of the performance targets, computed within each repeat."""

import pytest

from benchmarks import scoreboard
from benchmarks.contest.contestants import CONTESTANTS
from benchmarks.scoreboard import Bar, absolutes, bars, markdown, rows

WHOLE = {
    **{f"engine made-{model}": 40.0 for model in ("resnest50", "deeplab50")},
    **{f"before engine made-{model}": 10.0 for model in ("resnest50", "deeplab50")},
    "before": 50.0,
    "before null one": 200.0,
    "mix ours": 60.0,
    "mix before": 30.0,
    "mix limit": 70.0,
    "segment before": 0.5,
    "segment mix ours": 0.9,
    "segment mix before": 0.3,
    "ours": 95.0,
    "limit": 100.0,
    **{f"same {peer}": 90.0 for peer in scoreboard.PEERS},
    **{f"usual {peer}": 5.0 for peer in ("torchserve", "fastapi")},
    "lone p50": 15.0,
    "lone p99": 21.0,
    "in-process p50": 12.0,
    "in-process p99": 14.0,
    "ours 12 MP": 30.0,
    "null many": 600.0,
    "null one": 400.0,
    "ours 16": 95.0,
    "ours 64": 96.0,
    "ours 256": 94.0,
    "gateway MB": 120.0,
    "worker MB": 500.0,
    "gateway most MB": 180.0,
    "gateway with child processes MB": 220.0,
    "first answer": 8.0,
    "segment ours": 1.5,
    "segment limit": 1.55,
    "segment same mosec": 1.5,
    "segment usual fastapi": 0.5,
}


LIMIT = "classify, 16 callers: / limit without serving"


def row(repeats: list[dict[str, float]], start: str) -> tuple[str, ...]:
    return next(each for each in rows(repeats, bars(amx=True)) if each[0].startswith(start))


def test_every_bar_is_made_of_what_a_whole_repeat_measures() -> None:
    assert [bar.what for bar in bars(amx=True) if not bar.values([WHOLE])] == []


def test_every_bar_that_a_good_repeat_must_reach_is_met() -> None:
    assert {each[-1] for each in rows([WHOLE], bars(amx=True))} == {"met", ""}


def test_every_peer_is_one_of_the_contestants() -> None:
    assert {"ours", *scoreboard.PEERS} == CONTESTANTS.keys()


def test_ratios_are_taken_within_a_repeat() -> None:
    quiet, busy = WHOLE, {**WHOLE, "ours": 46.0, "limit": 50.0}

    assert row([quiet, busy, quiet], LIMIT) == (
        LIMIT,
        "≥ 0.88",
        "0.92",
        "0.95",
        "0.95",
        "3",
        "met",
    )


def test_the_median_decides_and_a_repeat_that_failed_is_not_counted() -> None:
    without = {name: value for name, value in WHOLE.items() if name != "limit"}
    slow = {**WHOLE, "ours": 80.0}

    assert row([slow, WHOLE, slow, without], LIMIT)[2:] == ("0.80", "0.80", "0.95", "3", "**missed**")


def test_a_bar_of_which_something_was_never_measured_says_so() -> None:
    assert row([{}], LIMIT)[2:] == ("-", "-", "-", "0", "not measured")


def test_the_crowd_is_held_against_the_best_of_the_smaller_ones() -> None:
    assert row([{"ours 16": 80.0, "ours 64": 100.0, "ours 256": 90.0}], "256 callers")[3] == "0.90"


def test_a_figure_without_a_bound_is_neither_met_nor_missed() -> None:
    assert row([WHOLE], "gateway, resident, after all loads")[1:] == ("-", "180 MB", "180 MB", "180 MB", "1", "")


def test_without_amx_a_bar_has_its_other_bound_or_is_only_reported() -> None:
    found = {each[0]: each for each in rows([{**WHOLE, "before": 90.0}], bars(amx=False))}
    engine, http = (
        found[name] for name in ("engine, ResNeSt-50, batches of 8: / before", "classify, 16 callers: / before")
    )
    assert (engine[1], engine[-1]) == ("≥ 1.2", "met")
    assert (http[1], http[-1]) == ("≥ 1.6 with AMX", "")
    with_amx = {each[0]: each for each in rows([{**WHOLE, "before": 90.0}], bars(amx=True))}
    assert with_amx[engine[0]][1] == "≥ 1.7 with AMX"
    assert with_amx[http[0]][-1] == "**missed**"


@pytest.mark.parametrize(("value", "holds"), [(3.9, True), (4.0, True), (4.1, False)])
def test_a_bound_from_above_holds_up_to_itself(value: float, holds: bool) -> None:  # noqa: FBT001 - a test parameter
    assert Bar("a wait", lambda _: value, at_most=4).holds(value) is holds


def test_every_figure_is_told_with_its_spread() -> None:
    assert absolutes([{"ours": 90.0}, {"ours": 110.0, "limit": 120.4}]) == [
        ("ours", "90.0", "100", "110"),
        ("limit", "120", "120", "120"),
    ]


def test_a_table_is_markdown() -> None:
    assert markdown(("a", "b"), [("1", "2")]) == "| a | b |\n| --- | --- |\n| 1 | 2 |\n"
