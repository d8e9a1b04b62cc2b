"""The shortened files of the demonstration are valid, and have no window of its own length left."""

import re
from pathlib import Path

import pytest

from deploy.demo.windows import shortened
from tests.deploy import reading
from tests.deploy.programs import run

RULES = sorted(reading.PROMETHEUS.glob("rules/*.yml"))
FACTOR = 20


def test_durations_are_divided_and_names_are_not() -> None:
    text = 'expr: sum(rate(a_total{le="2.5", status=~"5.."}[5m])) > job:resnest:rate5m\nfor: 1d'

    assert shortened(text, FACTOR) == (
        'expr: sum(rate(a_total{le="2.5", status=~"5.."}[15000ms])) > job:resnest:rate5m\nfor: 4320000ms'
    )


def test_the_events_of_a_window_are_counted_over_the_shortened_one() -> None:
    assert shortened("avg_over_time(a[1h]) * 3600 >= bool 10", FACTOR) == "avg_over_time(a[180000ms]) * 180 >= bool 10"


@pytest.mark.parametrize("path", RULES, ids=lambda path: path.name)
def test_no_window_of_a_rule_is_left_as_it_was(path: Path) -> None:
    text = shortened(path.read_text(encoding="utf-8"), FACTOR)

    assert re.findall(r"\[\d+[smhd]\]|for: \d+[smhd]\b", text) == []
    assert text.count("ms") > 3


def test_the_shortened_rules_are_valid(tmp_path: Path) -> None:
    for path in RULES:
        (tmp_path / path.name).write_text(shortened(path.read_text(encoding="utf-8"), FACTOR), encoding="utf-8")

    run("promtool", "check", "rules", *tmp_path.glob("*.yml"))


def test_the_shortened_file_of_alertmanager_is_valid(tmp_path: Path) -> None:
    path = reading.PROMETHEUS.parent / "alertmanager/alertmanager.yml"
    (tmp_path / path.name).write_text(shortened(path.read_text(encoding="utf-8"), FACTOR), encoding="utf-8")

    run("amtool", "check-config", tmp_path / path.name)
