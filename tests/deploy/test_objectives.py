"""The rules of the objectives are those that `make objectives` writes, and their limits are usable."""

import re
import tomllib

import pytest

from deploy.prometheus import objectives
from service.gateway.metrics.series import SECONDS
from tests.deploy import reading

DECLARED = tomllib.loads(objectives.OBJECTIVES.read_text(encoding="utf-8"))
NAMES = sorted(DECLARED)


def recorded(name: str) -> dict[str, str]:
    """Return the expressions of an objective's rules by the series that they record."""
    return {
        rule["record"]: rule["expr"] for rule in reading.rules("record") if rule.get("labels") == {"objective": name}
    }


def test_the_rules_are_written_from_the_objectives() -> None:
    written = (reading.PROMETHEUS / "rules/objectives.yml").read_text(encoding="utf-8")

    assert written == objectives.rules(DECLARED), "run make objectives"


@pytest.mark.parametrize("name", NAMES)
def test_an_objective_has_burn_rates_of_all_windows_two_alerts_and_its_budget(name: str) -> None:
    windows = {"5m", "30m", "1h", "2h", "6h", "1d", "3d"}
    wanted = {f"objective:resnest_burn:rate{window}" for window in windows}
    wanted |= {f"objective:resnest_{part}:rate5m" for part in ("events", "bad_events")}
    wanted |= {"objective:resnest_burn:page", "objective:resnest_burn:ticket", "objective:resnest_budget_left:ratio30d"}

    assert recorded(name).keys() == wanted


@pytest.mark.parametrize("name", NAMES)
def test_the_budget_is_what_the_target_leaves(name: str) -> None:
    found = recorded(name)["objective:resnest_burn:rate1h"]

    assert float(found.rpartition("/")[2]) == pytest.approx(1 - DECLARED[name]["target"])


@pytest.mark.parametrize("name", NAMES)
def test_events_are_judged_by_the_labels_that_the_objective_names(name: str) -> None:
    for part in ("total", "bad"):
        grouped = re.findall(r"sum by \(([^)]*)\)", DECLARED[name][part])
        assert {tuple(labels.split(", ")) for labels in grouped} == {tuple(DECLARED[name]["by"])}


def test_a_latency_objective_is_the_edge_of_a_bucket() -> None:
    (limit,) = re.findall(r'le="([\d.]+)"', DECLARED["latency"]["bad"])

    assert float(limit) in SECONDS
