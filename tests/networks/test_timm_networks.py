"""timm's classifiers as models of the store."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from service import engines
from service.measure.pipeline import Pipeline
from service.models import cards
from service.models.cards import CardError, Network
from service.models.weights import checkpoint
from service.models.weights.importing import ImportSpec, import_checkpoint
from service.networks import timm_networks
from service.tasks import task_of_network
from tests.measure.test_pipeline import encoded
from tests.models.weights.checkpoints import pth

# Squeeze-and-Excitation, selective kernels, ResNet-RS, and one with tables outside its state dict.
SMALL = [
    pytest.param("seresnet18", 64, marks=pytest.mark.stress),
    ("skresnet18", 64),
    pytest.param("resnetrs50", 64, marks=pytest.mark.stress),
    ("swin_tiny_patch4_window7_224", 224),
]


@pytest.mark.parametrize(("name", "size"), SMALL)
def test_a_checkpoint_of_timm_is_imported_and_answers_as_timm_does(
    timm: Any, tmp_path: Path, name: str, size: int
) -> None:
    torch.manual_seed(0)
    reference = timm.create_model(name, num_classes=3).eval()
    (tmp_path / "my.pth").write_bytes(pth(reference.state_dict()))
    (tmp_path / "labels.txt").write_text("a\nb\nc\n", encoding="utf-8")
    task = task_of_network(name, "timm")
    model = ImportSpec(
        "mine",
        name,
        str(tmp_path / "labels.txt"),
        task.name,
        task.imported_input(name),
        profile="timm",
        input_profile="timm",
        size=size,
        library="timm",
    )
    card = cards.read(import_checkpoint(tmp_path, model, tmp_path / "my.pth").folder)
    image = np.random.default_rng(1).integers(0, 256, (size, size, 3), np.uint8)

    scores = engines.ENGINES["torch"](card, "cpu")(image[None])["scores"]

    mean, std = np.array(card.input.mean), np.array(card.input.std)
    x = torch.from_numpy(((image / 255 - mean) / std).astype(np.float32)).permute(2, 0, 1)[None]
    with torch.inference_mode():
        expected = reference(x).softmax(dim=1).numpy()
    np.testing.assert_allclose(scores, expected, atol=1e-4)
    (answer,) = Pipeline.load(card, "cpu")(encoded(image))
    assert answer.arrays["scores"].shape == (3,)


@pytest.mark.usefixtures("timm")
@pytest.mark.parametrize("name", ["nothing_like_it", "hf_hub:timm/resnet50", "resnet50.a1_in1k", "../resnet50", ""])
def test_a_name_that_timm_has_not_is_told_and_nothing_is_fetched(name: str) -> None:
    with pytest.raises(KeyError):
        timm_networks.build(name, 3)
    with pytest.raises(CardError, match="timm has no network"):
        checkpoint.skeleton(Network(name=name, library="timm", classes=3))


@pytest.mark.usefixtures("timm")
def test_the_statistics_of_the_input_are_those_of_the_networks_default_weights() -> None:
    assert timm_networks.statistics("resnet50")["std"] == [0.229, 0.224, 0.225]
    assert timm_networks.statistics("vit_base_patch16_224") == {"mean": [0.5] * 3, "std": [0.5] * 3}
