"""MMSegmentation's head of UPerNet against the reference implementation."""

import pytest
import torch

from service.networks.mmseg.upernet import MmsegUPerHead
from tests.networks import heads
from tests.networks.sharing import FINE_TOLERANCE, distance, give, random_state


@pytest.mark.parametrize("inner", [None, 12])
@pytest.mark.parametrize("sides", [(24, 32), (26, 18), (9, 15), (2, 2)])  # of the finest map: halved evenly, unevenly
def test_the_uper_head_equals_the_reference(sides: tuple[int, int], inner: int | None) -> None:
    head = MmsegUPerHead(64, 5, inner)
    give(random_state(head, dtype=torch.float64), head)
    maps = [
        heads.features(channels, *(-(-side // stride) for side in sides))
        for channels, stride in ((8, 1), (16, 2), (32, 4), (64, 8))
    ]

    with torch.inference_mode():
        assert distance(head(*maps), heads.mmseg_uper(head.state_dict(), *maps)) < FINE_TOLERANCE
