"""The command `settings`."""

import json

import pytest
from click.testing import CliRunner, Result

from service.cli.main import main
from service.config import environment, setting_table


@pytest.fixture(autouse=True)
def _no_settings(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in environment.names():
        monkeypatch.delenv(name, raising=False)


def call(*arguments: str, command: str = "settings", **variables: str) -> Result:
    return CliRunner().invoke(main, [command, *arguments], env=variables)


def test_all_settings_are_listed() -> None:
    result = call()

    assert result.exit_code == 0
    assert [line.split()[0] for line in result.stdout.splitlines()] == ["SETTING", *environment.names()]


def test_only_what_the_environment_sets_is_listed_on_request() -> None:
    result = call("--changed", "--json", RESNEST_PORT="9000")

    (found,) = json.loads(result.stdout)
    assert (found["name"], found["value"], found["origin"]) == ("RESNEST_PORT", "9000", "environment")


def test_the_page_is_printed() -> None:
    assert call("--markdown").stdout == setting_table.manual()


def test_the_exit_status_says_that_something_cannot_be_used() -> None:
    result = call(RESNEST_PORT="x", RESNEST_PRT="1")

    assert result.exit_code == 1
    assert "cannot be used" in result.stdout
    assert "did you mean RESNEST_PORT?; RESNEST_PORT: it must be a whole number" in result.stderr


@pytest.mark.parametrize("command", ["run", "worker", "gateway"])
def test_a_command_that_serves_refuses_an_unknown_variable_before_anything_starts(command: str) -> None:
    result = call(command=command, RESNEST_MAX_INFLIGHT="5")

    assert result.exit_code == 1
    assert result.stderr == "Error: RESNEST_MAX_INFLIGHT is no setting; did you mean RESNEST_MAX_IN_FLIGHT?\n"


def test_run_refuses_a_value_before_anything_starts() -> None:
    result = call(command="run", RESNEST_MAX_IMAGES="100")

    assert result.exit_code == 1
    assert result.stderr.startswith("Error: RESNEST_MAX_IN_FLIGHT is below RESNEST_MAX_IMAGES")
    assert result.stdout == ""
