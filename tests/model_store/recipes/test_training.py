"""The shared parts of the recipes: schedules, parameter groups, averaged weights, and runs that resume."""

import json
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
import training
from torch import Tensor, nn

from service.engines.training.optimisation import optimiser
from service.networks import build
from service.networks.bottleneck import Bottleneck


def small() -> nn.Sequential:
    torch.manual_seed(0)
    return nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.Flatten(), nn.Linear(4 * 36, 2))


def run_in(folder: Path) -> training.Run:
    network = small()
    return training.Run(network, training.Average(network, 0.9), optimiser([(network, 1.0)], 0.1, 1e-4), folder)


def step(run: training.Run) -> None:
    batch = torch.rand(2, 3, 8, 8, generator=torch.Generator().manual_seed(run.epoch))
    run.optimizer.zero_grad()
    run.network(batch).square().mean().backward()
    run.optimizer.step()
    run.average.update(run.network)


def test_the_polynomial_falls_from_one_to_nothing() -> None:
    factors = [training.polynomial(each, 50) for each in range(51)]

    assert (factors[0], factors[-1]) == (1, 0)
    assert factors == sorted(factors, reverse=True)
    assert factors[25] == pytest.approx(0.5**0.9)


def test_a_block_starts_as_the_identity() -> None:
    network = build("resnest14", 3)
    training.initialise(network)
    blocks = [module for module in network.modules() if isinstance(module, Bottleneck)]

    assert len(blocks) == 4
    assert not any(bool(block.bn3.weight.any()) for block in blocks)
    spread = blocks[0].conv1.weight.std().item()
    assert spread == pytest.approx((2 / blocks[0].conv1.out_channels) ** 0.5, rel=0.1)  # He initialisation by fan-out


def test_pictures_are_normalised_as_imagenets() -> None:
    images = torch.zeros(2, 5, 6, 3, dtype=torch.uint8)
    images[1] = 255

    normalised = training.normalise(images, "cpu")

    assert normalised.shape == (2, 3, 5, 6)
    assert normalised[0, :, 0, 0].tolist() == pytest.approx([-0.485 / 0.229, -0.456 / 0.224, -0.406 / 0.225])
    assert normalised[1, :, 4, 5].tolist() == pytest.approx([0.515 / 0.229, 0.544 / 0.224, 0.594 / 0.225])


def test_the_average_follows_faster_at_first_and_counts_batches_as_they_are() -> None:
    network = small()
    average = training.Average(network, decay=0.5)
    before = average.network.state_dict()["0.weight"].clone()
    with torch.no_grad():
        network.state_dict()["0.weight"].add_(1)
        network.state_dict()["1.num_batches_tracked"].add_(3)
    shifts = []
    for _ in range(12):
        average.update(network)
        shifts.append((average.network.state_dict()["0.weight"] - before).mean().item())

    assert shifts[0] == pytest.approx(1 - 1 / 11)
    assert shifts == sorted(shifts)
    assert shifts[-1] == pytest.approx(1, abs=1e-4)
    assert average.network.state_dict()["1.num_batches_tracked"] == 3
    assert not average.network.training


def test_a_run_cut_off_goes_on_to_the_same_weights(tmp_path: Path) -> None:
    whole = run_in(tmp_path / "whole")
    for _ in whole.epochs(4):
        step(whole)
    cut = run_in(tmp_path / "cut")
    for epoch in cut.epochs(4):
        if epoch == 2:
            break
        step(cut)

    again = run_in(tmp_path / "cut")
    again.resume()
    assert again.epoch == 2
    for _ in again.epochs(4):
        step(again)

    for mine, theirs in ((again.network, whole.network), (again.average.network, whole.average.network)):
        for key, value in theirs.state_dict().items():
            torch.testing.assert_close(mine.state_dict()[key], value)
    assert again.average.updates == 4


def test_a_run_without_a_checkpoint_starts_at_the_beginning(tmp_path: Path) -> None:
    run = run_in(tmp_path)
    run.resume()

    assert run.epoch == 0
    assert list(run.epochs(0)) == []


def test_training_logs_loss_and_score_and_follows_its_schedule(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run, rates = run_in(tmp_path), []

    def batches(_: int) -> Iterator[Tensor]:
        for number in range(3):
            rates.append(run.optimizer.param_groups[0]["lr"])  # of the previous step
            yield torch.rand(2, 3, 8, 8, generator=torch.Generator().manual_seed(number))

    schedule = training.Schedule(epochs=2, steps=3, rate=1e-3, factor=training.polynomial)
    training.train(run, schedule, batches, lambda batch: run.network(batch).square().mean(), lambda: {"score": 0.5})

    rows = [json.loads(line) for line in (tmp_path / "log.jsonl").read_text().splitlines()]
    assert [(row["epoch"], row["score"]) for row in rows] == [(0, 0.5), (1, 0.5)]
    assert rows[1]["loss"] < rows[0]["loss"]
    assert rates[1:] == pytest.approx([1e-3 * training.polynomial(each, 6) for each in range(5)])
    assert "loss" in capsys.readouterr().out
    assert (tmp_path / "checkpoint.pt").exists()
    assert not (tmp_path / "checkpoint.tmp").exists()


def test_a_schedule_with_too_little_time_follows_the_time(tmp_path: Path) -> None:
    run = run_in(tmp_path)
    steps = training.Schedule(epochs=10, steps=100, rate=1e-3, factor=training.polynomial, seconds=200)

    run.epoch = 1
    assert steps.step(run, 7, time.monotonic()) == 107  # ahead of the time
    run.seconds = 50
    assert steps.step(run, 7, time.monotonic() - 50) == pytest.approx(500, abs=50)
    assert steps.step(run, 7, time.monotonic() - 1000) == 1000


def test_a_run_whose_time_is_over_trains_no_further(tmp_path: Path) -> None:
    run = run_in(tmp_path)
    run.seconds = 10.0
    schedule = training.Schedule(epochs=3, steps=1, rate=1e-3, factor=training.polynomial, seconds=9)

    training.train(run, schedule, lambda _: [1, 2], lambda _: torch.zeros(1), dict)

    assert run.epoch == 0
