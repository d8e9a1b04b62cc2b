"""The network of a card, from pixels to logits."""

from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from service.engines import graph
from service.models import cards
from service.networks.inference_form import Form


def test_pixels_get_the_mean_and_deviation_of_the_training() -> None:
    normalise = graph.Normalise((0.5, 0.25, 0), (0.5, 0.25, 1))
    pixel = torch.tensor([[[[255, 0, 51]]]], dtype=torch.uint8)
    torch.testing.assert_close(normalise(pixel).flatten(), torch.tensor([1, -1, 0.2]))


def test_a_segmenters_logits_stay_at_its_own_resolution(store: Path) -> None:
    images = torch.zeros((2, 64, 48, 3), dtype=torch.uint8)
    assert graph.build(cards.read(store / "tiny-segmenter"))(images).shape == (2, 3, 4, 3)
    assert graph.build(cards.read(store / "tiny-classifier"))(images).shape == (2, 7)


def test_a_network_is_the_reference_unless_another_form_is_asked_for(store: Path) -> None:
    card = cards.read(store / "tiny-classifier")
    images = torch.randint(0, 256, (2, 64, 64, 3), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
    reference, form = graph.build(card), graph.build(card, Form(fold=True, split_attention=True))
    assert any(isinstance(module, nn.BatchNorm2d) for module in reference.modules())
    assert not any(isinstance(module, nn.BatchNorm2d) for module in form.modules())
    assert torch.allclose(form(images), reference(images), atol=1e-4)


@pytest.mark.parametrize(
    ("name", "changes", "message"),
    [
        ("tiny-classifier", {"name": "resnest15"}, r"there is no network resnest15; there are .*resnest14"),
        ("tiny-classifier", {"name": "deeplab_resnest14"}, "its network deeplab_resnest14 is not for classification"),
        ("tiny-segmenter", {"name": "resnest14"}, "its network resnest14 is not for segmentation"),
        ("tiny-segmenter", {"classes": 256}, "it has 256 classes, and a mask has room for 255"),
    ],
)
def test_a_card_whose_network_cannot_do_its_task_is_refused(
    store: Path, name: str, changes: dict[str, str | int], message: str
) -> None:
    card = cards.read(store / name)
    wrong = card.model_copy(update={"network": card.network.model_copy(update=changes)})
    with pytest.raises(cards.CardError, match=f"^{name}: {message}"):
        graph.build(wrong)


def test_pictures_in_any_layout_and_read_only_ones_arrive_as_they_are() -> None:
    images = np.arange(2 * 4 * 5 * 3, dtype=np.uint8).reshape(2, 4, 5, 3)
    locked = images.copy()
    locked.flags.writeable = False

    for given in (images, images[:, ::-1, ::2], locked):
        assert np.array_equal(graph.to_tensor(given, torch.device("cpu")).numpy(), given)


def test_the_device_that_is_named_is_taken_and_else_the_best_there_is() -> None:
    assert graph.device_of("cpu") == "cpu"
    assert graph.device_of(None) == ("cuda" if torch.cuda.is_available() else "cpu")
