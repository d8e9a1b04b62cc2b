import pytest
import torch

from service.networks.detection.results import Detections, scale_to_upload, select

BOX = [0.0, 0, 10, 10]
OVERLAPPING = [1.0, 0, 11, 10]  # IoU 0.82 with BOX
APART = [50.0, 50, 60, 60]


def selected(boxes: list[list[float]], probabilities: list[list[float]]) -> Detections:
    return select(torch.tensor(boxes)[:, None], torch.tensor(probabilities))


def test_the_best_come_first() -> None:
    assert selected([BOX, APART], [[0.6, 0.4], [0.9, 0.1]]).boxes.tolist() == [APART, BOX]


def test_a_score_of_the_minimum_itself_is_dropped() -> None:
    assert len(selected([BOX, APART], [[0.05, 0.95], [0.051, 0.949]]).scores) == 1


def test_boxes_suppress_each_other_within_a_class_only() -> None:
    one_class = selected([BOX, OVERLAPPING], [[0.9, 0.0, 0.1], [0.8, 0.0, 0.2]])
    two_classes = selected([BOX, OVERLAPPING], [[0.9, 0.0, 0.1], [0.0, 0.8, 0.2]])
    assert len(one_class.scores) == 1
    assert two_classes.class_ids.tolist() == [0, 1]


def test_there_are_at_most_a_hundred() -> None:
    boxes = [[20.0 * index, 0, 20.0 * index + 10, 10] for index in range(150)]
    assert len(selected(boxes, [[0.9, 0.1]] * 150).scores) == 100


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_a_region_with_a_value_that_is_not_finite_is_dropped(value: float) -> None:
    assert selected([[value, 0, 10, 10], APART], [[0.9, 0.1], [0.8, 0.2]]).boxes.tolist() == [APART]


def test_scaling_clips_to_the_upload_and_drops_what_is_left_without_an_area() -> None:
    found = Detections(
        torch.tensor([[0.0, 0, 10, 10], [40, 0, 50, 10]]), torch.tensor([0.9, 0.8]), torch.tensor([1, 2])
    )
    scaled, left = scale_to_upload(found, (2.0, 3.0), (25, 60))
    assert scaled.boxes.tolist() == [[0, 0, 20, 25]]
    assert left.tolist() == [0]
    assert scaled.class_ids.tolist() == [1]
