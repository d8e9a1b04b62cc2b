"""Tests of the program that measures all performance targets."""

import json
from pathlib import Path

import click
import pytest

from benchmarks.bars import __main__, rounds
from benchmarks.bars.__main__ import Found, attempt, chosen, markdown, old_tree_of, write
from benchmarks.bars.rounds import Round
from benchmarks.contest.runner import ContestError

SCHEDULE = __main__.QUICK


def test_a_stage_that_fails_is_noted_and_the_next_one_goes_on(tmp_path: Path) -> None:
    found = Found()

    def dies(_: Round) -> None:
        raise ContestError("mosec does not start")

    def measures(current: Round) -> None:
        current.measures["ours"] = 90.0

    current = Round(tmp_path, SCHEDULE, 1)
    for stage in (dies, measures):
        attempt(stage, current, found)

    assert found.failures == ["repeat 2: mosec does not start"]
    assert current.measures == {"ours": 90.0}


def test_all_stages_are_chosen_unless_some_are_named() -> None:
    assert dict(chosen(None, Path("tree"))) == rounds.STAGES
    assert [name for name, _ in chosen("null,ours")] == ["ours", "null"]
    with pytest.raises(click.BadParameter, match="there is no stage theirs"):
        chosen("ours,theirs")


def test_stages_of_an_older_tree_need_the_tree() -> None:
    assert rounds.STAGES.keys() - dict(chosen(None)).keys() == set(rounds.OLD_STAGES)
    with pytest.raises(click.BadParameter, match="before needs --against"):
        chosen("ours,before")


def test_an_older_tree_without_an_environment_ends_the_program_before_anything_is_measured(tmp_path: Path) -> None:
    with pytest.raises(click.BadParameter) as caught:
        old_tree_of(tmp_path)

    assert caught.value.message == f"{tmp_path} has no environment: there is no {tmp_path}/.venv/bin/python"


def test_the_files_tell_what_was_measured_where_with_what_and_what_failed(tmp_path: Path) -> None:
    found = Found([{"ours": 95.0, "limit": 100.0}], failures=["repeat 1: ray does not start"])

    write(tmp_path, found, SCHEDULE)

    document = json.loads((tmp_path / "bars.json").read_text(encoding="utf-8"))
    page = (tmp_path / "bars.md").read_text(encoding="utf-8")
    assert document["repeats"] == found.repeats
    assert document["versions"]["mosec"] == "0.9.8"
    assert page == markdown(document)
    assert "| classify, 16 callers: / limit without serving | ≥ 0.88 | 0.95 | 0.95 | 0.95 | 1 | met |" in page
    assert "- repeat 1: ray does not start" in page


def test_a_pace_can_be_changed_in_part() -> None:
    assert str(SCHEDULE.changed(repeats=7, seconds=None)).startswith("7 repeats, each load 4 s")
