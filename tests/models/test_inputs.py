"""Which input sizes a card allows."""

from typing import Any

import pytest

from service.models.inputs import Input


@pytest.mark.parametrize(
    ("changes", "accepted", "refused"),
    [
        ({"size": 65, "multiple": 16}, [(80, 16), (16, 80)], [(81, 16), (0, 16)]),
        ({"size": 128, "short": 60, "multiple": 16}, [(64, 128), (128, 64)], [(128, 65), (128, 128)]),
        ({"profile": "whole", "size": 100}, [(1, 100), (100, 100)], [(101, 1), (0, 0)]),
        ({"profile": "timm", "size": 64}, [(64, 64)], [(63, 64), (64, 128)]),
    ],
    ids=["multiples", "with a maximum short side", "whole", "square"],
)
def test_an_input_has_sides_that_its_profile_makes(changes: Any, accepted: Any, refused: Any) -> None:
    spec = Input(**{"profile": "proportional", **changes})
    assert [spec.accepts(*sides) for sides in accepted] == [True] * len(accepted)
    assert [spec.accepts(*sides) for sides in refused] == [False] * len(refused)
