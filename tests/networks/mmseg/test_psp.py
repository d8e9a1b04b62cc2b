"""MMSegmentation's pyramid scene parsing head against the reference implementation."""

import pytest
import torch

from service.networks.mmseg.psp import MmsegPSPHead
from tests.networks import heads
from tests.networks.sharing import FINE_TOLERANCE, distance, give, random_state


@pytest.mark.parametrize("inner", [None, 12])
@pytest.mark.parametrize("sides", [(6, 6), (12, 18), (13, 9), (1, 1), (4, 7)])  # divided evenly, unevenly, too small
def test_the_psp_head_equals_the_reference(sides: tuple[int, int], inner: int | None) -> None:
    head, x = MmsegPSPHead(32, 5, inner), heads.features(32, *sides)
    give(random_state(head, dtype=torch.float64), head)

    with torch.inference_mode():
        assert distance(head(x), heads.mmseg_psp(head.state_dict(), x)) < FINE_TOLERANCE
