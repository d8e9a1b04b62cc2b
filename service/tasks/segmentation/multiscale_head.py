"""The masks of `quality=best`: the sum of many passes' scores, on the CPU or on CUDA, in bounded memory."""

import torch
from torch import Tensor

from service.models.cards import ModelCard
from service.networks.segmentation import Segmenter
from service.tasks.segmentation import multiscale as passes
from service.tasks.segmentation.masks_head import confident
from service.tasks.segmentation.multiscale import View
from service.tasks.torch_head import LoadedNetwork, Outputs, stack

# Scores of this many bytes at the picture's size are in memory at one time: 150 classes of a picture of 2048 by 1536
# would be 1.9 GB. The logits behind them, which stay, are at the network's own resolution: 2 MB a window.
ROOM = 32 << 20
LARGEST = 80.0  # exp of more than 88 is infinite in single precision


def multiscale(loaded: LoadedNetwork, x: Tensor, room: int = ROOM) -> Outputs:
    """`(n, 3, h, w)` to `mask` (n, h, w), `class_scores` (n, classes) and `confidence` (n, h, w), all of many passes.

    A pixel's scores are sums of the exponentials of logits, and its confidence the largest one's share of them, of
    which 255 is all. `black` (1, 3, 1, 1) is a black pixel as the network takes it; `room` is in bytes.
    """
    return stack([_predict(loaded.network, each[None], loaded.black, loaded.card, room) for each in x])


def _predict(network: Segmenter, x: Tensor, black: Tensor, card: ModelCard, room: int) -> dict[str, Tensor]:
    side = passes.window(card.input, card.multiscale)
    views = passes.views(card.input, card.multiscale, x.shape[2], x.shape[3])
    seen = [_logits(network, _canvas(network, x, black, view, side), view, side) for view in views]
    # As published wherever that is finite; else all scores smaller by one factor, which changes no mask.
    shift = max(0.0, max(float(each.max()) for each in seen) - LARGEST)
    size = (x.shape[2], x.shape[3])
    highest, total = x.new_zeros(size), x.new_zeros(size)
    mask = torch.zeros(size, dtype=torch.long, device=x.device)
    step = max(1, room // (4 * max(size[0] * size[1], *(_area(view, side) for view in views))))
    classes = seen[0].shape[1]
    for start in range(0, classes, step):
        scores = x.new_zeros((min(step, classes - start), *size))
        for view, logits in zip(views, seen, strict=True):
            scores += network.upsample(_scores(network, logits[:, start : start + step], view, side, shift), size)[0]
        likely, place = scores.max(dim=0)
        mask = torch.where(likely > highest, place + start, mask)
        highest, total = torch.maximum(highest, likely), total.add_(scores.sum(dim=0))
    return confident(mask, highest / total.clamp_(min=torch.finfo(total.dtype).tiny), classes)


def _area(view: View, side: int) -> int:
    """The pixels of a view's canvas, which its windows cover."""
    return (view.corners[-1][0] + side) * (view.corners[-1][1] + side)


def _canvas(network: Segmenter, x: Tensor, black: Tensor, view: View, side: int) -> Tensor:
    """The picture at the view's size, with black behind it as far as the windows reach."""
    bottom, right = (corner + side for corner in view.corners[-1])
    canvas = black.expand(1, -1, max(bottom, view.height), max(right, view.width)).clone()
    canvas[:, :, : view.height, : view.width] = network.upsample(x, (view.height, view.width))
    return canvas


def _logits(network: Segmenter, canvas: Tensor, view: View, side: int) -> Tensor:
    """Each window's logits and its mirror image's, turned back: `(windows, classes, h/s, w/s)`.

    Their sum can be upsampled as one, because upsampling is linear and the same from left and right.
    """
    found = []
    for top, left in view.corners:
        seen = canvas[:, :, top : top + side, left : left + side]
        plain, mirrored = network.coarse(torch.cat([seen, seen.flip(3)]))
        found.append(plain + mirrored.flip(2))
    return torch.stack(found)


def _scores(network: Segmenter, logits: Tensor, view: View, side: int, shift: float) -> Tensor:
    """Some classes' scores `(1, classes, h, w)` at the view's size, the mean where windows overlap."""
    bottom, right = (corner + side for corner in view.corners[-1])
    scores, windows = logits.new_zeros((logits.shape[1], bottom, right)), logits.new_zeros((bottom, right))
    for (top, left), each in zip(view.corners, logits, strict=True):
        place = (slice(top, top + side), slice(left, left + side))
        scores[:, *place] += network.upsample(each[None], (side, side))[0].sub_(shift).exp_()
        windows[place] += 1
    return scores.div_(windows)[None, :, : view.height, : view.width]
