import re
from pathlib import Path
from typing import Any

import pytest

from deploy.prometheus import operator_rules
from tests.deploy import reading
from tests.deploy.programs import TOP, run

UNIT_TESTS = sorted(TOP.glob("tests/deploy/rules/*.test.yml"))
ALERTS = [pytest.param(rule, id=rule["alert"]) for rule in reading.rules("alert")]
# The unit tests of ErrorBudgetBurningSlowly last for days, whose records take 5 s to compute.
MUTATED = [
    pytest.param(*each.values, id=each.id, marks=[pytest.mark.stress] if str(each.id).endswith("Slowly") else [])
    for each in ALERTS
]


def unit_tests_of(alert: str) -> list[list[Any]]:
    """Return for each unit test of the alert the expected alerts at each evaluation time, in order."""
    tests = [test for file in UNIT_TESTS for test in reading.load(str(file))["tests"]]
    expected = [
        [case["exp_alerts"] for case in test.get("alert_rule_test", []) if case["alertname"] == alert] for test in tests
    ]
    return [each for each in expected if each]


def headings(page: str) -> set[str]:
    """Return the anchors of a Markdown page's headings, as GitHub derives them from the text."""
    lines = (TOP / page).read_text(encoding="utf-8").splitlines()
    texts = [line.lstrip("#").strip().lower() for line in lines if line.startswith("#")]
    return {re.sub(r"[^\w-]", "", text.replace(" ", "-")) for text in texts}


def test_the_configuration_is_valid_and_without_lint() -> None:
    run("promtool", "check", "config", "--lint=all", "--lint-fatal", reading.PROMETHEUS / "prometheus.yml")


def test_the_rules_are_valid_and_without_lint() -> None:
    run("promtool", "check", "rules", "--lint=all", "--lint-fatal", *reading.PROMETHEUS.glob("rules/*.yml"))


def test_the_rules_pass_their_unit_tests() -> None:
    for file in UNIT_TESTS:
        run("promtool", "test", "rules", file)


@pytest.mark.parametrize("alert", MUTATED)
def test_an_alert_whose_condition_never_holds_fails_the_unit_tests(alert: dict[str, Any], tmp_path: Any) -> None:
    text = {path.name: path.read_text(encoding="utf-8") for path in reading.PROMETHEUS.glob("rules/*.yml")}
    (file,) = [name for name, content in text.items() if f"- alert: {alert['alert']}\n" in content]
    start = text[file].index(f"- alert: {alert['alert']}\n")
    broken = re.sub(r"expr: (\|\n( {10}.*\n)+|.*\n)", "expr: vector(1) > 2\n", text[file][start:], count=1)
    text[file] = text[file][:start] + broken
    (tmp_path / "rules").mkdir()
    for name, content in text.items():
        (tmp_path / "rules" / name).write_text(content, encoding="utf-8")
    cases = next(each for each in map(Path.read_text, UNIT_TESTS) if f"name: {alert['alert']} " in each)
    cases = cases.replace("../../../deploy/prometheus/", "")
    (tmp_path / "broken.yml").write_text(cases, encoding="utf-8")

    with pytest.raises(AssertionError, match=alert["alert"]):
        run("promtool", "test", "rules", f"--run=^{alert['alert']} ", tmp_path / "broken.yml")


@pytest.mark.parametrize("alert", ALERTS)
def test_every_alert_is_tested_to_fire_keep_quiet_before_and_resolve(alert: dict[str, Any]) -> None:
    shapes = [[bool(fires) for fires in times] for times in unit_tests_of(alert["alert"])]

    assert [False, True, False] in shapes


@pytest.mark.parametrize("alert", ALERTS)
def test_every_alert_says_what_is_wrong_how_bad_and_what_to_do(alert: dict[str, Any]) -> None:
    assert alert["labels"]["severity"] in {"page", "ticket"}
    assert set(alert["annotations"]) == {"summary", "description", "runbook_url", "dashboard_url"}
    assert alert["for"]


@pytest.mark.parametrize("alert", ALERTS)
def test_every_alert_has_its_section_in_the_runbook(alert: dict[str, Any]) -> None:
    page, _, anchor = alert["annotations"]["runbook_url"].partition("#")

    assert page == "{{ $externalLabels.runbooks }}"
    assert anchor == alert["alert"].lower()
    assert anchor in headings(operator_rules.links()["RUNBOOKS_URL"])


@pytest.mark.parametrize("alert", ALERTS)
def test_every_alert_leads_to_a_dashboard(alert: dict[str, Any]) -> None:
    base, _, uid = alert["annotations"]["dashboard_url"].partition("/d/")

    assert base == "{{ $externalLabels.dashboards }}"
    assert uid in {each["uid"] for each in reading.dashboards().values()}


def test_the_beginnings_of_links_are_labels_that_no_alert_is_sent_with() -> None:
    configuration = reading.load("deploy/prometheus/prometheus.yml")
    (relabelling,) = configuration["alerting"]["alert_relabel_configs"]
    labels = configuration["global"]["external_labels"]

    assert {value.strip("${}") for value in labels.values()} == operator_rules.links().keys()
    assert (relabelling["action"], relabelling["regex"]) == ("labeldrop", "|".join(labels))


def test_the_runbook_has_no_section_of_an_alert_that_is_gone() -> None:
    page = (TOP / "docs/operations/alerts.md").read_text(encoding="utf-8")
    sections = re.findall(r"^### (.+)$", page.partition("\n## Alerts\n")[2], re.MULTILINE)

    assert sorted(sections) == sorted(rule["alert"] for rule in reading.rules("alert"))
