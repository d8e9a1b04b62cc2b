"""Tests of the roofline model."""

from pathlib import Path

import pytest
import torch

from benchmarks.gpu import roofline
from benchmarks.gpu.roofline import Ceilings, Work
from service.engines.cuda.device import Cpu
from service.models import cards, zoo


def test_what_the_device_can_do_is_measured() -> None:
    found = roofline.measure(Cpu(), torch.float32, side=64, megabytes=1, seconds=0.01)
    assert found.flops_per_s > 1e7
    assert found.copied_per_s > 1e7
    assert found.sent_per_s > 1e7


def test_a_pass_is_counted_without_weights_and_in_proportion_to_its_pictures() -> None:
    """ResNeSt-50 at 224 px: 5.39 billion multiplications (arXiv 2004.08955, table 3), each with an addition."""
    card = zoo.read_zoo(Path(__file__).parents[3] / "model_store")["resnest50"]
    one, four = (roofline.work(card, count, torch.bfloat16) for count in (1, 4))
    assert one.flops / 2 == pytest.approx(5.39e9, rel=0.01)
    assert four.flops == 4 * one.flops
    assert one.moved < four.moved < 4 * one.moved  # the weights are read once
    weights = 27.5e6 * 2
    assert one.moved - (four.moved - one.moved) / 3 == pytest.approx(weights, rel=0.05)


def test_half_the_precision_moves_half_the_bytes(store: Path) -> None:
    card = cards.read(store / "tiny-segmenter")
    half, whole = (roofline.work(card, 2, dtype) for dtype in (torch.bfloat16, torch.float32))
    assert half.flops == whole.flops
    assert half.moved == pytest.approx(whole.moved / 2, rel=0.05)


def test_shares_are_of_what_could_be_done_in_the_time() -> None:
    found = roofline.shares(Ceilings(1e12, 1e9, 1e9), Work(flops=2e11, moved=1e8), seconds=0.5)
    assert found["matrix_share"] == pytest.approx(0.4)
    assert found["memory_share"] == pytest.approx(0.2)
