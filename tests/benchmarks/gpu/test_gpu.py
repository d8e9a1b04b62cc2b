"""Tests of the program that measures engines on GPUs. They run it on the CPU, where its figures mean nothing."""

import json
from pathlib import Path

import pytest
import torch
from click.testing import CliRunner

from benchmarks import made_models
from benchmarks.gpu import __main__, forms
from tests.stores import write_store

SMALL = ["--device", "cpu", "--seconds", "0.01", "--batch-size", "2", "--images", "10", "--no-trained"]


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a CUDA device")
def test_without_a_cuda_device_it_says_so_and_fails() -> None:
    result = CliRunner().invoke(__main__.main, [])
    assert result.exit_code == 1
    assert result.stderr == f"Error: {__main__.NO_DEVICE}\n"


@pytest.mark.parametrize(
    ("name", "images", "compared", "sizes"),
    [
        ("tiny-classifier", [1, 2], 10, {1, 2}),
        pytest.param("tiny-segmenter", [1, 2, 4], 2, {1, 4}, marks=pytest.mark.stress),  # 12 s
    ],
)
def test_it_goes_from_answers_to_rates_and_writes_all_of_it_down(
    tmp_path: Path, name: str, images: list[int], compared: int, sizes: set[int]
) -> None:
    store = write_store(tmp_path / "store", name, changes={"input": {"size": 32}})  # each is measured in ten forms
    command = [*SMALL, "--precision", "fp32", "--engine-only", "--store", str(store), "--model", name]
    result = CliRunner().invoke(__main__.main, [*command, "--into", str(tmp_path)])
    assert result.exit_code == 0, result.output
    document = json.loads((tmp_path / "gpu.json").read_text(encoding="utf-8"))
    (model,) = document["models"]
    assert [each["images"] for each in model["engine"]] == images
    for each in model["engine"]:
        assert each["per_s"] == pytest.approx(each["images"] / each["ms"] * 1e3)
        assert each["matrix_share"] > 0
        assert each["memory_share"] > 0
    assert model["agreement"]["images"] == compared
    page = (tmp_path / "gpu.md").read_text(encoding="utf-8")
    assert page == __main__.page(document)
    assert f"| {name} | {compared} | 100.00% |" in page
    assert [each["form"] for each in model["forms"]] == [str(form) for form in forms.forms()]
    for form in model["forms"]:
        assert form["agreement"]["holds"]
        assert {each["images"] for each in form["engine"]} == sizes
    assert f"of {compared} images 100.00% equal" in result.output


@pytest.mark.e2e
@pytest.mark.stress  # 80 s
def test_through_http_it_tells_the_share_of_the_engines_rate_and_what_holds_it_back(tmp_path: Path) -> None:
    store = write_store(tmp_path / "store", "tiny-classifier")
    (store / "example.jpg").write_bytes((made_models.PUBLISHED / "example.jpg").read_bytes())
    command = [*SMALL, "--seconds", "2", "--callers", "2,4", "--workers", "1"]
    command += ["--precision", "fp32", "--store", str(store), "--model", "tiny-classifier", "--into", str(tmp_path)]
    result = CliRunner().invoke(__main__.main, command)
    assert result.exit_code == 0, result.output
    (model,) = json.loads((tmp_path / "gpu.json").read_text(encoding="utf-8"))["models"]
    http = model["http"]
    rate = http["summary"]["images_per_s"]
    assert http["share"] == pytest.approx(rate / max(each["per_s"] for each in model["engine"]))
    assert {"decode", "inference"} <= http["summary"]["stages_ms"].keys()
    assert http["bottleneck"] in result.output


def test_answers_that_differ_and_a_service_that_fails_are_told() -> None:
    good, bad = ({"model": name, "holds": name == "good"} for name in ("good", "bad"))
    document = {
        "agreement": [good],
        "models": [{"agreement": bad, "http": {"failed": "ours does not start"}}, {"agreement": good}],
    }
    assert __main__.failures(document) == ["bad gives other answers than in single precision", "ours does not start"]
