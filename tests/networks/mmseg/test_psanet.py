"""MMSegmentation's head of PSANet against loops over every pixel and every cell of its mask."""

import pytest
import torch
from torch import Tensor

from service.networks.mmseg.psanet import MmsegPSAHead, masked
from tests.networks import heads
from tests.networks.heads import State, classifier, mmseg_layer, resize
from tests.networks.sharing import FINE_TOLERANCE, distance, give, random_state


def by_position(weights: Tensor, mask: int) -> Tensor:
    """Return `(n, positions, pixels)` weights of each position for each pixel, cell by cell."""
    n, _, height, width = weights.shape
    found = weights.new_zeros(n, height * width, height * width)
    half = (mask - 1) // 2
    for y in range(height):
        for x in range(width):
            for row in range(max(0, half - y), min(mask, height + half - y)):
                for column in range(max(0, half - x), min(mask, width + half - x)):
                    place = (row + y - half) * width + column + x - half
                    found[:, place, y * width + x] = weights[:, row * mask + column, y, x]
    return found


def psa(state: State, x: Tensor, mask: int) -> Tensor:
    """Apply the PSANet head."""
    odd = all(side % 2 for side in x.shape[2:])
    small = ((x.shape[2] + odd) // 2, (x.shape[3] + odd) // 2)
    both = []
    for end in ("", "_p"):
        features = resize(mmseg_layer(state, f"reduce{end}", x), small, align_corners=odd)
        inner = mmseg_layer(state, f"attention{end}.0", features)
        weights = by_position(torch.einsum("mc,ncyx->nmyx", state[f"attention{end}.1.weight"][:, :, 0, 0], inner), mask)
        weights = (weights.transpose(1, 2) if end else weights).softmax(dim=1)
        both.append(torch.einsum("ncq,nqp->ncp", features.flatten(2), weights).reshape(features.shape))
    padded = torch.nn.functional.pad(torch.cat(both, dim=1), (1, 1, 1, 1))
    attended = resize(mmseg_layer(state, "proj", padded), (x.shape[2], x.shape[3]), align_corners=odd)
    return classifier(state, "conv_seg", mmseg_layer(state, "bottleneck", torch.cat([x, attended], dim=1)))


@pytest.mark.parametrize("mask", [3, 6, 13])  # smaller than the map, of an even side, larger than the map
@pytest.mark.parametrize("sides", [(8, 12), (9, 7), (6, 9), (2, 2), (3, 3)])
def test_the_psa_head_equals_the_reference(sides: tuple[int, int], mask: int) -> None:
    head, x = MmsegPSAHead(32, 5, mask=mask), heads.features(32, *sides)
    give(random_state(head, dtype=torch.float64), head)

    with torch.inference_mode():
        assert distance(head(x), psa(head.state_dict(), x, mask)) < FINE_TOLERANCE


def test_a_weight_for_a_place_outside_the_mask_is_0() -> None:
    weights = torch.arange(9.0).view(1, 9, 1, 1).expand(1, 9, 1, 4)

    assert masked(weights, 3)[0].tolist() == [[4, 3, 0, 0], [5, 4, 3, 0], [0, 5, 4, 3], [0, 0, 5, 4]]
