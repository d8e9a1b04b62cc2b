"""Publishing writes the weights and the scores into the model's folder, with the code that serves them."""

import tomllib
from hashlib import sha256
from pathlib import Path
from typing import Any

import publish
import pytest
import torch
from safetensors.torch import save_file

from service import engines, networks
from service.models import cards
from tests.model_store.recipes.runs import few, run

CARD = """\
# This line stays.
name = "drawn"
version = "1.0"
task = "{task}"
summary = "Synthetic images."
licence = "CC0-1.0"
source = "tests"

[network]
name = "{network}"
classes = {classes}{settings}

[weights]
file = "weights.safetensors"
sha256 = "{zeros}"

[input]
profile = "{profile}"
size = 64
interpolation = "bilinear"

[measured]
"""
LABELS = {
    "classification": ("resnest14", "official", ["cat", "dog", "daisy", "dandelion", "rose", "sunflower", "tulip"]),
    "segmentation": ("deeplab_resnest14", "proportional", ["background", "cat", "dog"]),
    "detection": ("starter_mask_rcnn_resnest14", "proportional", ["cat", "dog"]),
}


def unpublished(folder: Path, task: str) -> tuple[Path, Path]:
    """Return a model's folder without weights or scores, and a file of random weights for it."""
    network, profile, labels = LABELS[task]
    model = folder / "drawn"
    model.mkdir()
    width: dict[str, Any] = {"head_channels": 16} if task == "segmentation" else {}
    settings = "".join(f"\n{name} = {value}" for name, value in width.items())
    settings += "\nproposals = 30" if task == "detection" else ""
    card = CARD.format(
        task=task, network=network, classes=len(labels), settings=settings, profile=profile, zeros="0" * 64
    )
    (model / "card.toml").write_text(card)
    (model / "labels.txt").write_text("\n".join(labels) + "\n")
    torch.manual_seed(0)
    save_file(networks.build(network, len(labels), **width).half().state_dict(), folder / "trained.safetensors")
    return model, folder / "trained.safetensors"


@pytest.mark.parametrize(
    ("task", "first"), [("classification", "top1"), ("segmentation", "mean_iou"), ("detection", "box_ap")]
)
def test_publishing_completes_a_card_that_then_serves(
    task: str, first: str, photos_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(publish.SIZES, task, (64, 96))
    model, weights = unpublished(tmp_path, task)

    folder = few(photos_folder, tmp_path / "photos", validation=1)
    said = run("publish", photos=folder, weights=weights, model=model, composites=4)

    text = (model / "card.toml").read_text()
    measured = tomllib.loads(text)["measured"]
    card = cards.read(model)
    assert text.startswith("# This line stays.\n")
    assert card.weights.sha256 == sha256(weights.read_bytes()).hexdigest()
    assert next(iter(measured)) == first
    assert 0 <= measured[first] <= 1
    assert measured["images"] == {"classification": 14, "segmentation": 4, "detection": 4}[task]  # the test split alone
    assert f"validation {card.input.profile} {card.input.short or card.input.size}: " in said
    engines.load(card)
