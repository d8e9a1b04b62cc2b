"""The demonstration expects alerts that there are."""

import pytest

from deploy.demo.scenarios import SCENARIOS, Scenario
from tests.deploy import reading


@pytest.mark.parametrize("scenario", [pytest.param(each, id=each.name) for each in SCENARIOS])
def test_a_scenario_expects_alerts_of_the_rules(scenario: Scenario) -> None:
    assert scenario.must | scenario.may <= {rule["alert"] for rule in reading.rules("alert")}
    assert not scenario.must & scenario.may


def test_what_went_wrong_is_what_operators_fear() -> None:
    assert [each.name for each in SCENARIOS] == ["slow callers", "killed worker", "broken model", "overload"]
    assert [each.pages for each in SCENARIOS if not each.must] == [0]
