"""What a card says of its network's input."""

from typing import Any

import pytest

from service.models.inputs import Input


@pytest.mark.parametrize(
    ("changes", "right", "wrong"),
    [
        ({"size": 65, "multiple": 16}, [(80, 16), (16, 80)], [(81, 16), (0, 16)]),
        ({"size": 128, "short": 60, "multiple": 16}, [(64, 128), (128, 64)], [(128, 65), (128, 128)]),
        ({"profile": "whole", "size": 100}, [(1, 100), (100, 100)], [(101, 1), (0, 0)]),
        ({"profile": "timm", "size": 64}, [(64, 64)], [(63, 64), (64, 128)]),
    ],
    ids=["in whole multiples", "in a box", "whole", "square"],
)
def test_an_input_has_sides_that_its_profile_makes(changes: Any, right: Any, wrong: Any) -> None:
    spec = Input(**{"profile": "segmentation", **changes})
    assert [spec.accepts(*sides) for sides in right] == [True] * len(right)
    assert [spec.accepts(*sides) for sides in wrong] == [False] * len(wrong)
