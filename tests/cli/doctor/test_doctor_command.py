"""The command `doctor`, from its checks to its exit status."""

import json
from collections import Counter
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from service.cli.main import main
from service.config import environment
from service.host.processes import free_port


@pytest.fixture(autouse=True)
def _no_settings(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in environment.names():
        monkeypatch.delenv(name, raising=False)


def call(store: Path, *arguments: str, **variables: str) -> Result:
    port = {"RESNEST_PORT": str(free_port()), "RESNEST_MODEL_STORE": str(store)}
    return CliRunner().invoke(main, ["doctor", *arguments], env={**port, **variables})


def test_every_part_is_checked(store: Path) -> None:
    result = call(store, "--json")

    found = json.loads(result.stdout)
    assert result.exit_code == 0, result.stdout
    assert {each["check"] for each in found} >= {
        *("Python", "platform", "Java", "processor", "memory", "open files", "native libraries", "packages", "GPU"),
        *("settings", "port", "temporary folder", "cache", "model store folder", "shared memory"),
        *("models", "weights", "keys", "engine"),
    }


def test_a_problem_has_its_cure_and_ends_with_status_1(store: Path) -> None:
    result = call(store, RESNEST_MAX_INFLIGHT="5")

    assert result.exit_code == 1
    assert "did you mean RESNEST_MAX_IN_FLIGHT?\n  correct it, or unset it" in result.stdout
    assert "1 problem," in result.stdout


def test_each_check_of_a_store_has_its_own_name(store: Path) -> None:
    names = Counter(each["check"] for each in json.loads(call(store, "--json").stdout))

    assert {name for name, count in names.items() if count > 1} <= {"weights", "engine"}  # a row for each model


def test_the_port_that_run_would_use_is_checked(store: Path) -> None:
    port = free_port()

    found = {each["check"]: each for each in json.loads(call(store, "--json", "--port", str(port)).stdout)}

    assert found["port"]["found"] == f"127.0.0.1 port {port} is free"
    assert call(store, "--port", "0").exit_code == 2


def test_settings_of_no_use_do_not_hide_the_other_checks(store: Path) -> None:
    found = json.loads(call(store, "--json", RESNEST_MAX_IMAGES="x").stdout)

    assert {each["check"] for each in found if each["state"] == "problem"} == {"settings"}
    assert "Java" in {each["check"] for each in found}
