"""The loss of the detector: which anchors and regions count, what they shall answer, and that training lowers it."""

from typing import cast

import detector_loss
import pytest
import torch
from detector_loss import BACKGROUND, MASK_SIDE, Truth
from torch import Tensor

from service.networks.detection import anchors, boxes
from service.networks.detection.detector import Detector
from service.networks.detection.heads import MaskHead
from service.networks.detection.roi_align import pyramid
from service.networks.detection.spec import STARTERS
from tests.edges import edges

HEIGHT, WIDTH = 64, 96


@pytest.fixture(scope="module", params=sorted(STARTERS))
def network(request: pytest.FixtureRequest) -> Detector:
    return made(request.param)


def made(name: str) -> Detector:
    torch.manual_seed(0)
    return Detector(STARTERS[name], BACKGROUND).eval()


def truth(*corners: tuple[float, ...]) -> Truth:
    """Return cats that fill these boxes."""
    masks = torch.zeros(len(corners), HEIGHT, WIDTH, dtype=torch.bool)
    for mask, (left, top, right, bottom) in zip(masks, corners, strict=True):
        mask[int(top) : int(bottom), int(left) : int(right)] = True
    return Truth(
        torch.tensor(corners, dtype=torch.float32).reshape(-1, 4), torch.zeros(len(corners), dtype=torch.long), masks
    )


def image() -> Tensor:
    return torch.randn(1, 3, HEIGHT, WIDTH, generator=torch.Generator().manual_seed(1))


def test_images_computed_together_have_the_outputs_that_each_has_alone(network: Detector) -> None:
    images = torch.randn(2, 3, HEIGHT, WIDTH, generator=torch.Generator().manual_seed(2))
    with torch.no_grad():
        together = detector_loss.trunk_outputs(network, network.trunk.backbone.stages(images))
        alone = [network.trunk(each[None]) for each in images]

    for one, other in zip(together, alone, strict=True):
        for mine, theirs in zip(one, other, strict=True):
            torch.testing.assert_close(mine, theirs, rtol=1e-3, atol=1e-3)


def test_the_anchors_are_in_the_order_of_the_output(network: Detector) -> None:
    cells = detector_loss.every_anchor(HEIGHT, WIDTH, torch.device("cpu"))

    assert len(cells) == len(network.trunk(image()).objectness)
    assert torch.equal(cells[:3], anchors.cell_anchors(32))


def test_an_anchor_is_positive_by_its_overlap_or_as_the_best_of_an_instance() -> None:
    instances = torch.tensor([[0.0, 0, 10, 10], [40, 40, 60, 60]])
    cells = torch.tensor([[0.0, 0, 10, 9], [0, 0, 10, 5], [40, 40, 52, 60], [70, 70, 80, 80], [0, 0, 10, 2]])

    positive, negative, matched = detector_loss.match_anchors(cells, instances)

    assert positive.tolist() == [True, False, True, False, False]  # the third overlaps by 0.6, but is the best
    assert negative.tolist() == [False, False, False, True, True]  # the second, 0.5, is neither
    assert matched[positive].tolist() == [0, 1]


def test_without_instances_every_anchor_is_negative() -> None:
    positive, negative, _ = detector_loss.match_anchors(torch.rand(7, 4), torch.zeros(0, 4))

    assert (int(positive.sum()), int(negative.sum())) == (0, 7)


def test_a_sample_has_at_most_its_share_of_positives_and_fills_up_with_negatives() -> None:
    many, few = torch.arange(100) < 50, torch.arange(100) < 3

    assert [len(each) for each in detector_loss.sample(many, ~many, 16, 0.25)] == [4, 12]
    assert [len(each) for each in detector_loss.sample(few, ~few, 16, 0.25)] == [3, 13]


def test_sampled_regions_are_positive_by_their_overlap_and_those_come_first(network: Detector) -> None:
    true = truth((10, 10, 50, 40))

    regions = detector_loss.sample_regions(network, network.trunk(image()), true, (HEIGHT, WIDTH))

    positive = boxes.iou(regions, true.boxes)[:, 0] >= detector_loss.STAGE_IOU[0]
    assert 0 < positive.sum() <= detector_loss.REGION_SAMPLES * detector_loss.REGION_POSITIVE
    assert positive.int().diff().max() == 0  # not one positive behind a negative


def test_a_region_has_the_label_of_the_instance_that_it_overlaps_most() -> None:
    true = truth((0, 0, 40, 40), (50, 0, 90, 40))._replace(class_ids=torch.tensor([0, 1]))
    regions = detector_loss.Regions(torch.tensor([[0.0, 0, 40, 30], [46, 0, 90, 40], [30, 0, 60, 40]]), true)

    assert regions.matched.tolist()[:2] == [0, 1]
    assert regions.labels(0.5).tolist() == [0, 1, BACKGROUND]
    assert regions.labels(0.8).tolist() == [BACKGROUND, 1, BACKGROUND]


def test_the_generalised_iou_is_that_of_the_paper() -> None:
    first = torch.tensor([[0.0, 0, 4, 4], [0, 0, 4, 4], [0, 0, 4, 4]])
    second = torch.tensor([[0.0, 0, 4, 4], [2, 0, 6, 4], [6, 0, 10, 4]])

    found = detector_loss.generalised_iou(first, second)

    assert found.tolist() == pytest.approx([1, 8 / 24, -(40 - 32) / 40])  # the second's box around is the union


def test_the_boxes_of_a_stage_are_the_regions_of_the_next_one() -> None:
    network, true, size = made("starter_cascade_mask_rcnn_resnest14"), truth((10, 10, 50, 40)), (HEIGHT, WIDTH)
    found = network.trunk(image())
    maps = pyramid(found[:4], anchors.STRIDES[:4])
    regions = detector_loss.sample_regions(network, found, true, size)

    stages = detector_loss.stages_terms(network, maps, regions, true, size)

    assert len(stages) == 3
    for stage in (1, 2):
        given = detector_loss.Regions(stages[stage - 1].found, true)
        alone = detector_loss.stage_terms(network, stage, maps, given, size)
        for mine, theirs in zip(alone, stages[stage], strict=True):
            torch.testing.assert_close(mine, theirs)
        assert not given.boxes.requires_grad


def test_varied_boxes_are_inside_the_image_and_some_are_only_a_part_of_the_instance() -> None:
    torch.manual_seed(4)
    true = truth((0, 10, 50, 40)).boxes

    found = detector_loss.varied(true, (HEIGHT, WIDTH))

    overlaps = boxes.iou(found, true)[:, 0]
    assert len(found) == detector_loss.VARIED
    assert (found >= 0).all()
    assert (found <= torch.tensor([WIDTH, HEIGHT] * 2)).all()
    assert overlaps.min() < detector_loss.STAGE_IOU[0] < overlaps.max()
    assert len(detector_loss.varied(truth().boxes, (HEIGHT, WIDTH))) == 0


def test_the_target_of_a_mask_is_the_part_of_it_inside_the_region() -> None:
    masks = truth((10, 10, 50, 40)).masks
    regions = torch.tensor([[10.0, 10, 50, 40], [30, 10, 70, 40], [60, 50, 90, 60]])

    found = detector_loss.mask_targets(masks, regions, torch.zeros(3, dtype=torch.long))

    assert found.shape == (3, MASK_SIDE, MASK_SIDE)
    assert found[0].all()
    assert torch.equal(found[1], (torch.arange(MASK_SIDE) < MASK_SIDE // 2).float().expand(MASK_SIDE, -1))
    assert not found[2].any()


def test_the_masks_are_those_of_the_head(network: Detector) -> None:
    head, features = cast("MaskHead", network.mask_heads[0]), torch.rand(3, 64, 14, 14)

    torch.testing.assert_close(detector_loss.mask_logits(head, features), head(features))


def test_an_image_without_an_instance_has_a_loss_for_what_it_should_not_find(network: Detector) -> None:
    terms = detector_loss.loss(network, network.trunk.backbone.stages(image()), [truth()])

    assert all(torch.isfinite(each) for each in terms.values())
    assert min(terms["objectness"], terms["scores"]) > 0
    assert terms["anchors"] == terms["boxes"] == terms["masks"] == 0


@pytest.mark.parametrize("name", edges(sorted(STARTERS), "starter_mask_rcnn_resnest14"))
def test_training_lowers_the_loss(name: str) -> None:
    network = made(name)
    optimizer = torch.optim.AdamW(network.parameters(), lr=5e-4)
    true = truth((10, 10, 50, 40), (60, 20, 90, 60))
    history = []
    for _ in range(15):
        terms = detector_loss.loss(network, network.trunk.backbone.stages(image()), [true])
        optimizer.zero_grad()
        torch.stack(list(terms.values())).sum().backward()
        optimizer.step()
        history.append({name: value.item() for name, value in terms.items()})

    assert set(history[0]) == {"objectness", "anchors", "scores", "boxes", "masks"}
    for term in ("objectness", "scores", "masks"):  # those of boxes depend on which ones were sampled
        first, last = (sum(row[term] for row in rows) for rows in (history[:5], history[-5:]))
        assert last < first, term
