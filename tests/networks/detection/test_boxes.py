import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from service.networks.detection import boxes

REFERENCE = torch.tensor([[10.0, 20.0, 50.0, 40.0]])
WEIGHTS = (10.0, 10.0, 5.0, 5.0)


def decoded(deltas: list[float], *, clamp_shrinking: bool = False) -> list[float]:
    given_deltas = torch.tensor(deltas).view(1, 1, 4)
    found: list[float] = boxes.decode(REFERENCE, given_deltas, WEIGHTS, clamp_shrinking=clamp_shrinking)[0, 0].tolist()
    return found


def test_deltas_of_zero_return_the_reference_box() -> None:
    assert decoded([0, 0, 0, 0]) == [10, 20, 50, 40]


def test_a_shift_is_in_sides_divided_by_the_weights() -> None:
    assert decoded([5, 0, 0, 0]) == [30, 20, 70, 40]
    assert decoded([0, 5, 0, 0]) == [10, 30, 50, 50]


def test_the_sides_grow_exponentially_around_the_centre() -> None:
    assert decoded([0, 0, 5 * math.log(2), 0]) == pytest.approx([-10, 20, 70, 40])


def test_growth_stops_at_a_factor_of_1000_to_16() -> None:
    left, _, right, _ = decoded([0, 0, 1e4, 0])
    assert right - left == pytest.approx(40 * 62.5)


@pytest.mark.parametrize(("clamp_shrinking", "width"), [(True, 40 / 62.5), (False, 0.0)])
def test_shrinking_stops_there_too_in_one_family(*, clamp_shrinking: bool, width: float) -> None:
    left, _, right, _ = decoded([0, 0, -1e4, 0], clamp_shrinking=clamp_shrinking)
    assert right - left == pytest.approx(width, abs=1e-5)


@given(st.lists(st.floats(-0.9, 0.9), min_size=4, max_size=4))
def test_decoding_what_encode_returns_gives_the_box_again(shifts: list[float]) -> None:
    box = REFERENCE + 10 * torch.tensor(shifts)
    again = boxes.decode(REFERENCE, boxes.encode(REFERENCE, box, WEIGHTS)[:, None], WEIGHTS, clamp_shrinking=True)
    assert torch.allclose(again[:, 0], box, atol=1e-4)


def test_each_class_may_have_deltas_of_its_own() -> None:
    deltas = torch.tensor([[[0.0, 0, 0, 0], [5, 0, 0, 0]]])
    found = boxes.decode(REFERENCE, deltas, WEIGHTS, clamp_shrinking=False)
    assert found.tolist() == [[[10, 20, 50, 40], [30, 20, 70, 40]]]


def test_clip_keeps_the_part_inside_the_image() -> None:
    assert boxes.clip(torch.tensor([[-5.0, -5, 90, 70]]), height=60, width=80).tolist() == [[0, 0, 80, 60]]


def test_a_box_without_a_side_is_empty() -> None:
    assert boxes.not_empty(torch.tensor([[0.0, 0, 1, 1], [1, 0, 1, 1], [0, 2, 1, 1]])).tolist() == [True, False, False]


def test_the_iou_of_empty_boxes_is_zero() -> None:
    empty = torch.zeros(1, 4)
    assert boxes.iou(empty, empty).tolist() == [[0]]
