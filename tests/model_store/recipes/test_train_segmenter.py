"""The segmenter's recipe: crops with their masks, scores on trimaps, and a complete short run."""

from pathlib import Path

import numpy as np
import photos
import pytest
import torch
import train_segmenter
from PIL import Image
from safetensors.torch import load_file
from torch import Tensor, nn

from service import networks
from service.models import cards
from service.tasks.scoring_base import IGNORED
from tests.model_store.recipes.runs import RECIPES, run


def test_a_crop_keeps_picture_and_mask_on_each_other() -> None:
    ids = np.zeros((60, 90), np.uint8)
    ids[:, 45:] = 2
    whole = Image.fromarray(np.stack([ids * 100] * 3, axis=2))
    for _ in range(20):
        image, mask = train_segmenter.crop(whole, Image.fromarray(ids), 64)
        found, truth = np.array(image)[:, :, 0], np.array(mask)
        inside = truth != IGNORED

        assert image.size == mask.size == (64, 64)
        assert set(np.unique(truth)) <= {0, 2, IGNORED}
        assert inside.any()
        assert ((found > 100) == (truth == 2))[inside].mean() > 0.95  # the edge itself is blurred


def test_what_lies_outside_the_picture_is_ignored_and_black() -> None:
    white, cat = Image.new("RGB", (10, 10), (255, 255, 255)), Image.new("L", (10, 10), 1)

    image, mask = train_segmenter.crop(white, cat, 128)

    outside = np.array(mask) == IGNORED
    assert 0.5 < outside.mean() < 1
    assert np.array(image)[outside].mean() < 10


def test_a_flower_is_all_background(photos_folder: Path) -> None:
    rose = next(row for row in photos.read(photos_folder) if row.label == "rose")
    image, mask = train_segmenter.sample(rose)

    assert mask.size == image.size
    assert mask.getextrema() == (0, 0)


def test_an_epoch_has_every_pet_and_its_share_of_flowers(photos_folder: Path) -> None:
    rows = photos.read(photos_folder)
    pets, flowers = [row for row in rows if row.mask], [row for row in rows if row.label == "tulip"]
    dataset = train_segmenter.FitSamples(pets, flowers, 32)

    masks = [dataset[index][1] for index in range(len(dataset))]

    assert len(dataset) == round(len(pets) / (1 - train_segmenter.FLOWERS))
    assert {mask.shape for mask in masks} == {(32, 32)}
    assert not any(np.isin(mask, (1, 2)).any() for mask in masks[len(pets) :])


def test_atrous_rates_reach_as_far_across_the_picture_at_either_stride() -> None:
    reach = {
        stride: [
            conv.dilation[0] * stride
            for conv in train_segmenter.build(stride).head.modules()
            if isinstance(conv, nn.Conv2d) and conv.kernel_size == (3, 3)
        ]
        for stride in (8, 16)
    }

    assert reach[8][:3] == reach[16][:3] == [96, 192, 288]


class Everywhere(nn.Module):
    """Predicts one class for every pixel."""

    def __init__(self, class_id: int) -> None:
        super().__init__()
        self.class_id = class_id

    def forward(self, x: Tensor) -> Tensor:
        scores = torch.zeros(len(x), len(train_segmenter.LABELS), *x.shape[2:])
        scores[:, self.class_id] = 1
        return scores


def test_scores_are_intersection_over_union_of_the_pixels_that_have_a_class(photos_folder: Path) -> None:
    cats = [row for row in photos.read(photos_folder) if row.label == "cat" and row.split == "test"]
    dogs = [row for row in photos.read(photos_folder) if row.label == "dog" and row.split == "test"]
    # A mask is 20 x 24 with 10 x 10 pixels of its animal and 10 ignored ones. There are equally many cats and dogs.
    known, animal = 20 * 24 - 10, 100

    all_dog = train_segmenter.validation_iou(Everywhere(2), cats + dogs, "cpu")
    all_background = train_segmenter.validation_iou(Everywhere(0), cats + dogs, "cpu")

    assert all_dog["validation_pet_iou"] == pytest.approx(animal / known)
    assert all_dog["validation_miou"] == pytest.approx(animal / (2 * known) / 3)
    assert all_background["validation_pet_iou"] == 0
    assert all_background["validation_miou"] == pytest.approx((known - animal) / known / 3)


@pytest.mark.stress  # 11 s
def test_a_run_starts_from_the_classifier_and_leaves_weights_that_fit_the_card(
    classifier_run: tuple[Path, str], few_photos: Path, tmp_path: Path
) -> None:
    backbone = classifier_run[0] / "weights.safetensors"
    started = train_segmenter.start(backbone, 8).pretrained.state_dict()
    given = load_file(backbone)
    assert all(torch.equal(value, given[key].to(value.dtype)) for key, value in started.items())

    options = {"photos": few_photos, "backbone": backbone, "out": tmp_path, "device": "cpu"}
    said = run("train_segmenter", **options, epochs=1, batch=4, workers=0)

    card = cards.read(RECIPES.parent / "starter-segmenter")
    network = networks.build(**card.network.arguments())
    network.load_state_dict(load_file(tmp_path / "weights.safetensors"))
    assert "validation_miou" in said
