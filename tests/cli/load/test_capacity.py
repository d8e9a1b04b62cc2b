"""Tests of the command `capacity`."""

import json
from pathlib import Path

import yaml
from click.testing import CliRunner

from service.cli.main import main
from tests.measure.load.serving import Answer, Server
from tests.measure.load.threads import served

BRIEF = ("--duration", "0.5", "--warm-up", "0.1", "--size", "64x48")
TIMED = Answer(0.002, headers=("Server-Timing: queue;dur=5, inference;dur=10",))


def test_the_numbers_are_printed_written_and_made_a_component(tmp_path: Path) -> None:
    with served(Server(lambda _: TIMED, one_at_a_time=True)) as server:
        arguments = [*BRIEF, "--allow-p95", "5000", "--json", tmp_path / "found.json", "--kustomize", tmp_path / "made"]
        words = ["capacity", server.url, *map(str, arguments), "--autoscaler", "keda"]
        result = CliRunner().invoke(main, words)

    assert result.exit_code == 0, result.output
    found = json.loads((tmp_path / "found.json").read_text("utf-8"))
    made = yaml.safe_load((tmp_path / "made/kustomization.yaml").read_text("utf-8"))
    assert f"{found['measured']['images_per_s']:.1f} images/s" in result.stdout
    assert found["machine"]["cores"] >= 1
    assert made["kind"] == "Component"
    (literal,) = made["configMapGenerator"][0]["literals"]
    assert literal == f"RESNEST_MAX_IN_FLIGHT={found['sizing']['max_in_flight']}"
    assert made["patches"][0]["target"]["kind"] == "ScaledObject"


def test_a_bound_that_is_never_kept_is_said_in_one_sentence() -> None:
    with served(Server(lambda _: TIMED, one_at_a_time=True)) as server:
        result = CliRunner().invoke(main, ["capacity", server.url, *BRIEF, "--allow-p95", "1"])

    assert result.exit_code == 1
    assert "no load had a 95th percentile of at most 1 ms" in result.output
