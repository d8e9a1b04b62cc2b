"""The classifier's recipe: its data, its score, and a complete short run."""

import json
from pathlib import Path

import numpy as np
import photos
import torch
import train_classifier
from PIL import Image
from safetensors.torch import load_file
from torch import Tensor, nn

from service.networks import build


def test_the_centre_is_seven_eighths_of_the_short_side() -> None:
    pixels = np.zeros((80, 160, 3), np.uint8)
    pixels[5:75, 45:115] = 255  # 70 of 80, in the middle

    centre = train_classifier.centre(Image.fromarray(pixels), 70)

    assert centre.shape == (70, 70, 3)
    assert centre.min() > 200
    assert train_classifier.centre(Image.fromarray(pixels), 40).shape == (40, 40, 3)


class ByBrightness(nn.Module):
    """Predicts 0 for dark images and 1 for bright ones."""

    def forward(self, x: Tensor) -> Tensor:
        bright = x.float().mean((1, 2, 3))
        return torch.stack([-bright, bright], dim=1)


def test_accuracy_is_the_share_of_right_answers(tmp_path: Path) -> None:
    held = []
    for number, (grey, label) in enumerate([(20, "cat"), (30, "cat"), (230, "dog"), (40, "dog")]):
        Image.new("RGB", (40, 40), (grey,) * 3).save(tmp_path / f"{number}.png")
        held.append(photos.Photo(tmp_path / f"{number}.png", label, "validation", None, ""))

    assert train_classifier.Validation(held, "cpu").accuracy(ByBrightness()) == 0.75


def test_a_run_leaves_weights_that_fit_the_network_and_a_log(classifier_run: tuple[Path, str]) -> None:
    out, said = classifier_run
    state = load_file(out / "weights.safetensors")
    build("resnest14", len(photos.LABELS)).load_state_dict(state)
    (row,) = [json.loads(line) for line in (out / "log.jsonl").read_text().splitlines()]

    assert {value.dtype for key, value in state.items() if "num_batches" not in key} == {torch.float16}
    assert all(bool(value.isfinite().all()) for value in state.values())
    assert state["bn1.num_batches_tracked"] > 0
    assert 0 <= row["validation_top1"] <= 1
    assert "validation_top1" in said
