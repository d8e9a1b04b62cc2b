"""The command `models`, from its options to its effects on the store."""

import hashlib
import json
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from service.cli.main import main
from service.host.processes import free_port
from service.models import cards, model_order, zoo
from tests.models.weights.checkpoints import made_state, pth
from tests.models.weights.misbehaving import Server, serving
from tests.stores import write_store

NAME = "tiny-classifier-b"


@pytest.fixture(scope="module")
def checkpoint() -> bytes:
    return pth(made_state())


@pytest.fixture
def server(checkpoint: bytes, monkeypatch: pytest.MonkeyPatch) -> Iterator[Server]:
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    with serving() as server:
        server.files["file"] = checkpoint
        yield server


@pytest.fixture
def store(tmp_path: Path, server: Server, checkpoint: bytes) -> Path:
    """Return a store with a model whose weights are missing, and one whose weights can be pulled."""
    folder = write_store(tmp_path / "store", "tiny-segmenter", NAME, weights=False)
    path = folder / NAME / "card.toml"
    head, _, _ = path.read_text(encoding="utf-8").partition("[weights]")
    sources = f"""[weights]
file = "weights/tiny.safetensors"
[[weights.sources]]
urls = ["{server.url("404")}", "{server.url("whole")}"]
sha256 = "{hashlib.sha256(checkpoint).hexdigest()[:8]}"
[published]
top1 = 81.034
"""
    path.write_text(head + sources, encoding="utf-8")
    return folder


Call = Callable[..., Result]


@pytest.fixture
def call(store: Path) -> Call:
    def models(*words: str, answer: str = "") -> Result:
        return CliRunner().invoke(main, ["models", *words], input=answer, env={"RESNEST_MODEL_STORE": str(store)})

    return models


def test_the_list_tells_of_every_model_what_it_is_and_whether_it_is_here(call: Call) -> None:
    assert call("list").stdout.splitlines() == [
        "CLASSIFICATION     WEIGHTS  INPUT  TOP-1  STATE",
        "tiny-classifier-b  -        64     81.03  not pulled",
        "",
        "SEGMENTATION    WEIGHTS  INPUT  MIOU  STATE",
        "tiny-segmenter  -        64     -     missing",
    ]
    assert call().stdout == call("list").stdout


def test_the_list_of_the_published_models_fits_a_terminal_of_80_columns(call: Call) -> None:
    listed = call("list", "--store", str(Path(__file__).parents[3] / "model_store")).stdout.splitlines()
    assert len(listed) > 50
    assert "* measured by this project; the authors state the other scores" in listed
    assert max(map(len, listed)) <= 80


def test_a_store_without_models_is_told(call: Call, tmp_path: Path) -> None:
    told = call("list", "--store", str(tmp_path))
    assert (told.exit_code, "choose another with --store" in told.stderr) == (1, True)


def test_the_list_is_there_for_programs_too(call: Call) -> None:
    listed = {card["name"]: card for card in json.loads(call("list", "--json").stdout)}
    assert listed[NAME]["state"] == "absent"
    assert listed[NAME]["published"] == {"top1": 81.034}


def test_a_model_is_shown_with_its_addresses_and_its_checksum(call: Call, server: Server) -> None:
    shown = dict(line.split(maxsplit=1) for line in call("show", NAME).stdout.splitlines())
    assert shown["weights.sources.1.urls.2"] == server.url("whole")
    assert shown["network.name"] == "resnest14"
    assert shown["state"] == "absent"
    assert json.loads(call("show", NAME, "--json").stdout)["network"]["name"] == "resnest14"


def test_a_model_is_pulled_verified_and_removed(call: Call, store: Path, server: Server) -> None:
    pulled = call("pull", NAME)
    assert (pulled.exit_code, pulled.stdout) == (0, f"{NAME}: {store}/{NAME}/weights/tiny.safetensors\n")
    assert [path for path, _ in server.requests] == ["/404/file", "/whole/file"]
    assert call("pull", NAME).stdout.endswith("is here already\n")
    checksum = cards.read(store / NAME).checksum
    assert call("verify").stdout == call("verify", NAME).stdout == f"{NAME}: {checksum}\n"
    removed = call("remove", NAME)
    assert removed.stdout.splitlines() == [
        f"{NAME}: removed {store / NAME / 'weights'}",
        "A service that runs serves it until: resnest-service models reload",
    ]
    assert not (store / NAME / "weights").exists()
    assert call("list").stdout.splitlines()[1].endswith("not pulled")


def test_a_model_that_cannot_be_pulled_does_not_keep_back_the_others(call: Call, store: Path) -> None:
    pulled = call("pull", "tiny-segmenter", NAME)
    assert pulled.exit_code == 1
    assert "tiny-segmenter: its weights have no source to pull from" in pulled.stderr
    assert (store / NAME / "weights" / "tiny.safetensors").exists()


def test_a_damaged_file_fails_the_verification(call: Call, store: Path) -> None:
    call("pull", NAME)
    with (store / NAME / "weights" / "tiny.safetensors").open("ab") as file:
        file.write(b"\0")
    verified = call("verify")
    assert verified.exit_code == 1
    assert "it was pulled with" in verified.stderr


def test_an_unknown_model_is_told_with_exit_code_1(call: Call) -> None:
    for command in ("show", "pull", "verify", "remove"):
        result = call(command, "unknown")
        assert (result.exit_code, "no model is named unknown" in result.stderr) == (1, True)


def test_a_published_file_is_imported_by_its_checksum(call: Call, tmp_path: Path, checkpoint: bytes) -> None:
    file = tmp_path / "file.pth"
    file.write_bytes(checkpoint)
    assert call("import", str(file), "--name", NAME).exit_code == 0
    assert call("verify", NAME).exit_code == 0
    file.write_bytes(checkpoint + b"\0")
    refused = call("import", str(file), "--name", NAME)
    assert refused.exit_code == 1
    assert "is not one of its published files" in refused.stderr


def test_ones_own_checkpoint_becomes_a_model_and_is_deleted_when_asked(
    call: Call, tmp_path: Path, store: Path, checkpoint: bytes
) -> None:
    (tmp_path / "my.pth").write_bytes(checkpoint)
    (tmp_path / "labels.txt").write_text("a\nb\nc\n", encoding="utf-8")
    words = ("import", str(tmp_path / "my.pth"), "--name", "mine", "--network", "resnest14", "--size", "96")
    made = call(*words, "--labels", str(tmp_path / "labels.txt"), "--input", "timm")
    assert "resnest-service run --models mine. If a service runs already: resnest-service models reload" in made.stdout
    assert zoo.read_all(store)["mine"].input.profile == "timm"
    kept = call("remove", "mine", answer="n\n")
    assert (kept.exit_code, (store / "mine").exists()) == (1, True)
    unasked = call("remove", "mine")
    assert (unasked.exit_code, (store / "mine").exists()) == (1, True)
    assert "--yes goes on without asking" in unasked.stderr
    assert call("remove", "mine", answer="y\n").exit_code == 0
    assert not (store / "mine").exists()


def test_a_new_model_whose_name_sorts_first_is_not_the_default_until_the_other_is_removed(
    call: Call, tmp_path: Path, store: Path, checkpoint: bytes
) -> None:
    (tmp_path / "my.pth").write_bytes(checkpoint)
    (tmp_path / "labels.txt").write_text("a\nb\nc\n", encoding="utf-8")
    call("pull", NAME)
    words = ("import", str(tmp_path / "my.pth"), "--network", "resnest14", "--labels", str(tmp_path / "labels.txt"))

    assert call(*words, "--name", "aardvark").exit_code == 0

    by_addition = model_order.ordered(zoo.read_all(store).values(), store)
    assert [card.name for card in by_addition if card.task == "classification"] == [NAME, "aardvark"]
    assert f"default of classification: {NAME} -> aardvark" in call("remove", NAME).stdout.splitlines()


def test_half_of_what_a_new_model_needs_is_a_mistake_of_usage(call: Call, tmp_path: Path) -> None:
    (tmp_path / "my.pth").touch()
    result = call("import", str(tmp_path / "my.pth"), "--name", "mine", "--network", "resnest14")
    assert result.exit_code == 2
    assert "needs both --network and --labels" in result.stderr


@pytest.mark.parametrize("option", [("--ema",), ("--member", "net"), ("--version", "2.0"), ("--keys", "timm")])
def test_an_option_of_a_new_model_is_not_ignored_for_a_published_file(
    call: Call, tmp_path: Path, checkpoint: bytes, option: tuple[str, ...]
) -> None:
    (tmp_path / "file.pth").write_bytes(checkpoint)
    result = call("import", str(tmp_path / "file.pth"), "--name", NAME, *option)
    assert result.exit_code == 2
    assert f"{option[0]}: only for a new model" in result.stderr


def test_a_model_that_came_with_the_store_is_not_removed(call: Call) -> None:
    result = call("remove", "tiny-segmenter")
    assert (result.exit_code, "came with the model store" in result.stderr) == (1, True)


Run = Callable[..., Result]


@pytest.fixture
def run(store: Path, tmp_path: Path) -> Run:
    """Return a function that runs `run` until Java ends at once: weights are pulled and archives are written."""
    java = tmp_path / "java" / "bin" / "java"
    java.parent.mkdir(parents=True)
    java.write_text("#!/bin/sh\nexit 3\n", encoding="utf-8")
    java.chmod(0o755)
    (tmp_path / "java" / "release").write_text('JAVA_VERSION="17.0.9"\n', encoding="utf-8")

    def serve(*words: str) -> Result:
        environment = {"RESNEST_MODEL_STORE": str(store), "JAVA_HOME": str(tmp_path / "java")}
        return CliRunner().invoke(main, ["run", "--port", str(free_port()), *words], env=environment)

    return serve


def test_run_pulls_the_named_models_that_are_not_here_and_serves_them(run: Run, store: Path, server: Server) -> None:
    first = run("--models", NAME)
    assert (store / NAME / "weights" / "tiny.safetensors").is_file()
    assert "its weights are not here; pulling them" in first.stderr
    assert f"Packaging {NAME} 1.0" in first.stdout
    assert "TorchServe ended with code 3 while starting" in first.stderr
    asked = len(server.requests)
    assert "pulling" not in run("--models", NAME).stderr
    assert len(server.requests) == asked


def test_run_says_that_the_default_model_of_the_store_is_gone(run: Run, call: Call, store: Path) -> None:
    call("pull", NAME)
    (store / model_order.FILE).write_text(f'classification = ["gone", "{NAME}"]\n', encoding="utf-8")

    line = f"In the store {store}: default of classification: gone -> {NAME}"

    assert line in run("--models", NAME).stdout.splitlines()
    assert line not in run("--models", NAME).stdout


def test_run_fetches_nothing_that_it_was_not_told_to(run: Run, store: Path, server: Server) -> None:
    kept = run("--models", NAME, "--no-pull")
    assert kept.exit_code == 1
    assert f"get them with `resnest-service models pull {NAME}`" in kept.stderr
    assert run().exit_code == 1
    assert server.requests == []
    assert not (store / NAME / "weights").exists()


def test_run_says_in_a_sentence_why_a_model_cannot_be_pulled(run: Run, server: Server) -> None:
    server.files["file"] = b"<html>"
    result = run("--models", NAME)
    assert result.exit_code == 1
    assert "sent a file that is not the published one" in result.stderr


def test_a_port_that_is_taken_is_told_before_anything_is_pulled(call: Call, store: Path, server: Server) -> None:
    words = ["run", "--models", NAME, "--port", str(server.server_port)]
    result = CliRunner().invoke(main, words, env={"RESNEST_MODEL_STORE": str(store)})
    assert "cannot listen on" in result.stderr
    assert server.requests == []


def test_a_store_that_is_not_there_is_named_with_the_options_that_choose_another(tmp_path: Path) -> None:
    result = CliRunner().invoke(main, ["models", "show", "mine"], env={"RESNEST_MODEL_STORE": str(tmp_path / "none")})
    assert result.exit_code == 2
    assert f"{tmp_path / 'none'} is not a folder" in result.output
    assert "--store or RESNEST_MODEL_STORE" in result.output
