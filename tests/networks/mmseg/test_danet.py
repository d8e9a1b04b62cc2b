"""MMSegmentation's head of DANet against the reference implementation."""

import pytest
import torch

from service.networks.mmseg.danet import MmsegDAHead
from tests.networks import heads
from tests.networks.sharing import FINE_TOLERANCE, distance, give, random_state


@pytest.mark.parametrize("inner", [None, 12])
@pytest.mark.parametrize("sides", [(6, 6), (13, 9), (1, 1)])
def test_the_da_head_equals_the_reference(sides: tuple[int, int], inner: int | None) -> None:
    head, x = MmsegDAHead(32, 5, inner), heads.features(32, *sides)
    state = random_state(head, dtype=torch.float64)
    give({key: value + 0.6 if key.endswith("gamma.scale") else value for key, value in state.items()}, head)

    with torch.inference_mode():
        assert distance(head(x), heads.mmseg_da(head.state_dict(), x)) < FINE_TOLERANCE
