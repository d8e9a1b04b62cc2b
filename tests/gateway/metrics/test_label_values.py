"""The values of labels agree with what they name."""

from service.errors import every_error
from service.gateway.access.authorization import all_rules
from service.gateway.metrics import label_values


def test_the_statuses_that_exist_from_the_start_are_those_of_errors_and_of_success() -> None:
    statuses = {str(error.status) for error in every_error()} | {"200"}

    assert set(label_values.STATUSES) <= statuses
    assert {status for status in statuses if status >= "500"} <= set(label_values.STATUSES)


def test_probes_are_open_routes() -> None:
    rules = all_rules()

    assert all(rules[route].is_open for route in label_values.PROBES)


def test_the_outcome_of_a_callers_deadline_is_no_code_of_an_error() -> None:
    assert label_values.CALLER_DEADLINE not in {error.code() for error in every_error()}
