"""Checks of libraries, models, settings and keys."""

import shutil
from collections.abc import Iterable
from datetime import date
from pathlib import Path

import pytest

from service.cli.doctor import model_findings
from service.cli.doctor.finding import Finding
from service.config import api_keys
from service.config.settings import Settings
from service.models import zoo


def states(found: Iterable[Finding]) -> list[tuple[str, str]]:
    return [(each.check, each.state) for each in found]


def test_the_packages_of_the_tests_are_complete() -> None:
    (found,) = model_findings.libraries()

    assert found.state == "ok"
    assert "torch 2." in found.found


def test_a_driver_without_a_gpu_that_pytorch_can_use_is_a_warning(tmp_path: Path) -> None:
    pytest.importorskip("torch")
    driver = tmp_path / "version"
    driver.touch()

    found = list(model_findings.gpu(driver))

    if found[0].state != "ok":  # a machine with a GPU has none to warn of
        assert "nvidia-smi" in found[0].cure
    assert states(model_findings.gpu(tmp_path / "none"))[0] == ("GPU", "ok")


def test_a_store_is_right_model_by_model(store: Path) -> None:
    found = list(model_findings.store(Settings(model_store=store)))

    assert {each.state for each in found} == {"ok"}
    assert sum(each.check == "weights" for each in found) == 4


def test_weights_that_changed_and_cards_that_cannot_be_read_are_problems(store: Path, tmp_path: Path) -> None:
    copy = tmp_path / "store"
    shutil.copytree(store, copy)
    (copy / "tiny-classifier" / "weights.safetensors").write_bytes(b"abc")
    (copy / "tiny-segmenter" / "card.toml").write_text("name = 1", encoding="utf-8")

    found = [each for each in model_findings.store(Settings(model_store=copy)) if each.state == "problem"]

    assert [each.check for each in found] == ["models", "weights"]
    assert "has the SHA-256" in found[1].found
    assert found[1].cure == "resnest-service models pull tiny-classifier"


def test_no_store_and_an_unknown_model_are_problems(store: Path, tmp_path: Path) -> None:
    assert states(model_findings.store(Settings(model_store=tmp_path))) == [("models", "problem")]
    assert states(model_findings.store(Settings(model_store=store, models=("none",)))) == [("models", "problem")]


def test_the_engine_of_each_model_is_named(store: Path) -> None:
    found = list(model_findings.engine(list(zoo.read_all(store).values())))

    assert all(name in " ".join(each.found for each in found) for name in ("tiny-classifier", "tiny-detector"))


def test_unknown_variables_and_values_of_no_use_are_problems(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RESNEST_PORT", "x")

    found = list(model_findings.variables({"RESNEST_PRT": "1"}))

    assert states(found) == [("settings", "problem")] * 2


def test_no_key_is_needed_on_loopback_and_is_beyond() -> None:
    assert states(model_findings.keys(Settings())) == [("keys", "ok")]
    assert states(model_findings.keys(Settings(host="0.0.0.0"))) == [("keys", "problem")]


def test_a_key_file_is_read_and_what_is_wrong_with_it_is_named(tmp_path: Path) -> None:
    path = tmp_path / "keys"
    key = api_keys.Key("old", frozenset({"classify"}), "0" * 64, expires=date(2020, 1, 1))
    path.write_text(key.line() + "\n", encoding="utf-8")
    path.chmod(0o666)
    settings = Settings(keys_file=path)

    found = list(model_findings.keys(settings))
    assert states(found) == [("keys", "warning"), ("keys", "warning"), ("keys", "ok")]
    assert "expired: old" in found[0].found

    path.write_text("nonsense", encoding="utf-8")
    assert states(model_findings.keys(settings)) == [("keys", "problem")]
