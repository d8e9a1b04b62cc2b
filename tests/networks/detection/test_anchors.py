import math

import pytest
import torch

from service.networks.detection import anchors


def test_the_ratios_are_height_to_width_at_equal_area() -> None:
    half, one, two = anchors.cell_anchors(32.0).tolist()
    root = 32 / math.sqrt(2) / 2
    assert half == pytest.approx([-2 * root, -root, 2 * root, root], abs=1e-5)
    assert one == [-16, -16, 16, 16]
    assert two == pytest.approx([-root, -2 * root, root, 2 * root], abs=1e-5)


def test_a_level_goes_by_row_then_column_then_ratio() -> None:
    found = anchors.level_anchors(2, 3, 8, torch.device("cpu"))
    centres = (found[:, :2] + found[:, 2:]) / 2
    assert centres[::3].tolist() == [[0, 0], [8, 0], [16, 0], [0, 8], [8, 8], [16, 8]]
    assert found.shape == (18, 4)
