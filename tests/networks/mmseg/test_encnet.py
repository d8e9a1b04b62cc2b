"""MMSegmentation's head of EncNet against the reference implementation."""

import pytest
import torch

from service.networks.mmseg.encnet import MmsegEncHead
from tests.networks import heads
from tests.networks.sharing import FINE_TOLERANCE, distance, give, random_state


@pytest.mark.parametrize("inner", [None, 12])
@pytest.mark.parametrize("sides", [(6, 6), (13, 9), (1, 1)])
def test_the_enc_head_equals_the_reference(sides: tuple[int, int], inner: int | None) -> None:
    head, x = MmsegEncHead(32, 5, inner), heads.features(32, *sides)
    give(random_state(head, dtype=torch.float64), head)

    with torch.inference_mode():
        assert distance(head(x), heads.mmseg_enc(head.state_dict(), x)) < FINE_TOLERANCE
