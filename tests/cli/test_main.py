"""Tests of the commands. Those that start the service are tested in tests/e2e."""

import os
import re
import subprocess
import sys
from pathlib import Path

import click
import pytest
from click.testing import CliRunner, Result

from service import __version__
from service.cli.main import main
from service.host import torchserve
from service.host.processes import free_port
from service.host.torchserve import Addresses
from service.models import cards

COMMANDS = {"run", "package", "worker", "gateway", "health", "models", "keys", "evaluate", "bench"}


def call(*arguments: str | Path, **environment: str) -> Result:
    return CliRunner().invoke(main, [str(each) for each in arguments], env=environment)


def test_the_commands_are_those_of_the_documentation() -> None:
    assert set(main.list_commands(click.Context(main))) >= COMMANDS


@pytest.mark.parametrize("command", sorted(COMMANDS))
def test_every_command_says_what_it_does(command: str) -> None:
    result = call(command, "--help")
    assert result.exit_code == 0
    found = main.get_command(click.Context(main), command)
    assert found is not None
    assert found.help


def test_a_command_loads_no_scoring_and_no_measurements_of_other_commands() -> None:
    done = subprocess.run(
        [sys.executable, "-X", "importtime", "-m", "service", "health", "--help"],
        capture_output=True,
        text=True,
        check=True,
    )
    loaded = {line.rpartition("|")[2].strip() for line in done.stderr.splitlines()}

    assert "service.cli.accuracy.evaluate" in loaded
    assert not [name for name in loaded if re.match(r"service\.(measure\b|tasks\.\w+\.scoring$)", name)]


def test_the_installed_command_is_this_one() -> None:
    command = Path(sys.executable).with_name("resnest-service")
    found = subprocess.run([command, "--version"], capture_output=True, text=True, check=True)
    assert found.stdout == f"resnest-service, version {__version__}\n"


def test_what_an_operator_can_mend_is_one_sentence_and_no_traceback(tmp_path: Path) -> None:
    result = call("package", "--store", tmp_path)
    assert result.exit_code == 1
    assert (
        result.stderr
        == f"Error: {tmp_path} holds no model: no <name>/card.toml is in it; choose another with --store\n"
    )


def test_package_writes_the_archives_it_names(store: Path, tmp_path: Path) -> None:
    result = call("package", "--store", store, "--models", "tiny-classifier,tiny-segmenter", "--into", tmp_path)
    assert result.exit_code == 0, result.output
    assert result.output.split() == [str(tmp_path / "tiny-classifier"), str(tmp_path / "tiny-segmenter")]
    assert cards.read(tmp_path / "tiny-segmenter").task == "segmentation"


def test_models_may_be_named_by_commas_by_repetition_and_by_the_environment(store: Path, tmp_path: Path) -> None:
    both = ["tiny-classifier", "tiny-segmenter"]
    options = ("package", "--store", store, "--into", tmp_path)
    for result in (
        call(*options, "--models", ",".join(both)),
        call(*options, "--models", both[0], "--models", both[1]),
        call(*options, RESNEST_MODELS=",".join(both)),
    ):
        assert [Path(line).name for line in result.output.split()] == both


def test_origins_may_be_named_by_commas_and_by_repetition() -> None:
    words = ["--cors", "https://a.example,https://b.example", "--cors", "https://c.example"]
    context = main.commands["run"].make_context("run", words)
    assert context.params["cors_origins"] == ("https://a.example", "https://b.example", "https://c.example")


def test_a_file_of_keys_that_is_missing_ends_run_before_it_starts_anything(tmp_path: Path) -> None:
    done = CliRunner().invoke(main, ["run", "--keys-file", str(tmp_path / "keys")])
    assert done.exit_code == 2
    assert "does not exist" in done.output


def test_a_setting_of_the_gateway_that_makes_no_sense_is_told_by_its_variable() -> None:
    result = call("gateway", RESNEST_MAX_IMAGES="many")
    assert result.exit_code == 1
    assert result.stderr.startswith("Error: RESNEST_MAX_IMAGES: ")
    assert len(result.stderr.splitlines()) == 1


def test_health_is_bad_where_nothing_answers(tmp_path: Path) -> None:
    port = free_port()
    result = call("health", TMPDIR=str(tmp_path), RESNEST_PORT=str(port), RESNEST_HOST="0.0.0.0")
    assert result.exit_code == 1
    assert f"http://127.0.0.1:{port}" in result.stderr


def test_health_asks_the_worker_whose_folder_it_is_given(store: Path, tmp_path: Path) -> None:
    addresses = Addresses(management=f"unix:{tmp_path}/none")
    torchserve.prepare(tmp_path / "worker", [cards.read(store / "tiny-classifier")], tmp_path, addresses)
    result = call("health", "--worker", tmp_path / "worker")
    assert result.exit_code == 1
    assert result.stderr == "Error: not ready: tiny-classifier\n"


@pytest.mark.parametrize("port", ["x", "-1", "65536", ""])
def test_health_says_when_the_port_it_is_told_is_none(port: str, tmp_path: Path) -> None:
    result = call("health", TMPDIR=str(tmp_path), RESNEST_PORT=port)
    assert (result.exit_code, result.stderr) == (1, "Error: RESNEST_PORT is not a port number\n")


@pytest.mark.parametrize("host", ["a..b", "\udcff"])
def test_a_host_that_can_be_none_is_a_mistake_in_the_call(host: str, store: Path) -> None:
    result = call("run", "--store", store, "--host", host)
    assert result.exit_code == 2
    assert result.stderr.splitlines()[-1] == "Error: Invalid value for '--host': it is not a host name or an address"


def test_what_the_operating_system_refuses_is_one_sentence(store: Path, tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    result = call("worker", "--store", store, "--folder", tmp_path / "file")
    assert result.exit_code == 1
    assert len(result.stderr.splitlines()) == 1

    (tmp_path / "worker" / "tmp").parent.mkdir()
    (tmp_path / "worker" / "tmp").touch()
    result = call("worker", "--store", store, "--folder", tmp_path / "worker")
    assert (result.exit_code, result.stderr) == (1, f"Error: {tmp_path / 'worker' / 'tmp'}: File exists\n")


@pytest.mark.parametrize("near", [f"{name}s" for name in ("run", "detect", "classify", "embed", "evaluate", "models")])
def test_a_command_that_is_almost_right_gets_the_closest_names_also_those_of_endpoints(near: str) -> None:
    result = call(near, "photo.jpg")

    assert result.exit_code == 2
    assert f"There is no command '{near}'; did you mean {near[:-1]}" in result.stderr


def test_a_command_that_is_like_no_other_gets_no_suggestion() -> None:
    assert call("xyzzy").stderr.splitlines()[-1] == "Error: There is no command 'xyzzy'."


COMPLETION = """
eval "$(_RESNEST_SERVICE_COMPLETE=bash_source resnest-service)"
_resnest_service_completion resnest-service
printf '%s\\n' "${COMPREPLY[@]}"
"""


@pytest.mark.parametrize(
    ("words", "completed"),
    [
        ("cla", ["classify"]),
        ("bulk --task de", ["detect"]),
        ("calibrate --oth", ["--others"]),
        ("export --format la", ["labelme", "label-studio"]),
        ("export --format x", [""]),
    ],
)
def test_bash_completes_commands_options_and_values(words: str, completed: list[str]) -> None:
    count = len(words.split())
    script = f"COMP_WORDS=(resnest-service {words}); COMP_CWORD={count}\n{COMPLETION}"
    path = f"{Path(sys.executable).parent}:{os.environ['PATH']}"

    found = subprocess.run(
        ["bash", "--norc", "-c", script], capture_output=True, text=True, check=True, env={**os.environ, "PATH": path}
    )

    assert found.stdout.splitlines() == completed
