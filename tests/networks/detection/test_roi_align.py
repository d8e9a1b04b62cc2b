import numpy as np
import pytest
import torch

from service.networks.detection.roi_align import level_of, pyramid, roi_align
from tests.networks.detection import references

STRIDES = (4, 8, 16, 32)
SIZE = (160, 224)  # of the network's input; P5 has 5 x 7 pixels


@pytest.fixture(scope="module")
def maps() -> tuple[torch.Tensor, ...]:
    random = torch.Generator().manual_seed(0)
    return tuple(torch.randn(1, 3, SIZE[0] // s, SIZE[1] // s, generator=random) for s in STRIDES)


def expected(maps: tuple[torch.Tensor, ...], box: list[float], bins: int) -> torch.Tensor:
    level = int(level_of(torch.tensor([box]), len(STRIDES), 0.0))
    array = maps[level][0].double().numpy()
    return torch.from_numpy(references.roi_align(array, np.array(box), STRIDES[level], bins)).float()


BOXES = {
    "small": [10.2, 20.7, 31.4, 40.1],
    "less than a pixel": [50.1, 50.1, 50.9, 50.6],
    "whole image": [0.0, 0, 224, 160],
    "wide": [0.0, 60, 224, 70],
    "tall": [100.0, 0, 104, 160],
    "at a corner": [200.0, 140, 224, 160],
    "outside by more than a pixel": [-40.0, -30, 30, 30],
    "far outside": [400.0, 400, 500, 500],
    "on level P3": [20.0, 20, 140, 140],
}


@pytest.mark.parametrize("bins", [7, 14])
@pytest.mark.parametrize("box", BOXES.values(), ids=BOXES.keys())
def test_each_bin_is_the_mean_of_its_bilinear_samples(
    maps: tuple[torch.Tensor, ...], box: list[float], bins: int
) -> None:
    found = roi_align(pyramid(maps, STRIDES), torch.tensor([box]), bins)
    assert torch.allclose(found[0], expected(maps, box, bins), atol=1e-5)


def test_boxes_of_all_levels_in_one_call_equal_those_alone(maps: tuple[torch.Tensor, ...]) -> None:
    random = np.random.default_rng(1)
    corners = random.uniform(-20, 200, (60, 2))
    boxes = np.concatenate([corners, corners + random.uniform(0.5, 180, (60, 2))], axis=1).astype(np.float32)
    found = roi_align(pyramid(maps, STRIDES), torch.from_numpy(boxes), 7)
    for box, features in zip(boxes.tolist(), found, strict=True):
        assert torch.allclose(features, expected(maps, box, 7), atol=1e-5)


@pytest.mark.parametrize("box", [[5.0, 5, 5, 9], [5.0, 9, 9, 5], [0.0, 0, 0, 0]])
def test_a_box_without_an_area_gets_zeros(maps: tuple[torch.Tensor, ...], box: list[float]) -> None:
    assert not roi_align(pyramid(maps, STRIDES), torch.tensor([box]), 7).any()


def test_no_box_is_no_feature(maps: tuple[torch.Tensor, ...]) -> None:
    assert roi_align(pyramid(maps, STRIDES), torch.zeros(0, 4), 7).shape == (0, 3, 7, 7)


@pytest.mark.parametrize(("side", "level"), [(10, 0), (111, 0), (113, 1), (225, 2), (449, 3), (2000, 3)])
def test_a_box_twice_as_large_uses_the_next_level(side: float, level: int) -> None:
    assert level_of(torch.tensor([[0.0, 0, side, side]]), 4, 0.0).tolist() == [level]


def test_the_pyramid_can_be_trained_through_it(maps: tuple[torch.Tensor, ...]) -> None:
    given = tuple(each.clone().requires_grad_() for each in maps)
    roi_align(pyramid(given, STRIDES), torch.tensor([BOXES["on level P3"]]), 7).sum().backward()
    assert given[1].grad is not None
    assert given[1].grad.any()
