"""The torch code of `quality=best`: masks from the sum of the scores of many passes, in bounded memory."""

import torch
from torch import Tensor

from service.models.cards import ModelCard
from service.networks.segmentation import Segmenter
from service.tasks.segmentation import multiscale as passes
from service.tasks.segmentation.masks_head import confident
from service.tasks.segmentation.multiscale import View
from service.tasks.torch_head import LoadedNetwork, Outputs, stack

# The bytes of scores at the image's size that are in memory at one time. All scores of 150 classes and an image of 2048
# by 1536 pixels would be 1.9 GB. The logits stay in memory, at the network's own resolution: 2 MB a window.
MAX_SCORE_BYTES = 32 << 20
MAX_LOGIT = 80.0  # exp of more than 88 is infinite in single precision


def multiscale(loaded: LoadedNetwork, x: Tensor, max_score_bytes: int = MAX_SCORE_BYTES) -> Outputs:
    """Return `mask` (n, h, w), `class_scores` (n, classes) and `confidence` (n, h, w) for `x` (n, 3, h, w).

    A class's score at a pixel is the sum of exp(logit) over the passes. `confidence` is the share of the highest score
    in the sum over the classes, times 255.
    """
    return stack([_predict(loaded.network, each[None], loaded.black, loaded.card, max_score_bytes) for each in x])


def _predict(network: Segmenter, x: Tensor, black: Tensor, card: ModelCard, max_bytes: int) -> dict[str, Tensor]:
    """Return the outputs for one image, (1, 3, h, w). `black` (1, 3, 1, 1) is a black pixel in the network's input."""
    side = passes.window(card.input, card.multiscale)
    views = passes.views(card.input, card.multiscale, x.shape[2], x.shape[3])
    found = [_logits(network, _canvas(network, x, black, view, side), view, side) for view in views]
    # Scores are as published where those are finite. Otherwise all are divided by one factor, which changes no mask.
    shift = max(0.0, max(float(logits.max()) for logits in found) - MAX_LOGIT)
    size = (x.shape[2], x.shape[3])
    highest, total = x.new_zeros(size), x.new_zeros(size)
    mask = torch.zeros(size, dtype=torch.long, device=x.device)
    step = max(1, max_bytes // (4 * max(size[0] * size[1], *(_area(view, side) for view in views))))
    classes = found[0].shape[1]
    for start in range(0, classes, step):
        scores = x.new_zeros((min(step, classes - start), *size))
        for view, logits in zip(views, found, strict=True):
            scores += network.upsample(_scores(network, logits[:, start : start + step], view, side, shift), size)[0]
        likely, class_id = scores.max(dim=0)
        mask = torch.where(likely > highest, class_id + start, mask)
        highest, total = torch.maximum(highest, likely), total.add_(scores.sum(dim=0))
    return confident(mask, highest / total.clamp_(min=torch.finfo(total.dtype).tiny), classes)


def _area(view: View, side: int) -> int:
    """Return the number of pixels that the windows of a view cover."""
    return (view.corners[-1][0] + side) * (view.corners[-1][1] + side)


def _canvas(network: Segmenter, x: Tensor, black: Tensor, view: View, side: int) -> Tensor:
    """Return the image at the view's size, padded with black to the right and bottom as far as the windows reach."""
    bottom, right = (corner + side for corner in view.corners[-1])
    canvas = black.expand(1, -1, max(bottom, view.height), max(right, view.width)).clone()
    canvas[:, :, : view.height, : view.width] = network.upsample(x, (view.height, view.width))
    return canvas


def _logits(network: Segmenter, canvas: Tensor, view: View, side: int) -> Tensor:
    """Return for each window the sum of its logits and its mirrored logits, `(windows, classes, h/s, w/s)`.

    The sum can be upsampled at once, because upsampling is linear and symmetric.
    """
    found = []
    for top, left in view.corners:
        window = canvas[:, :, top : top + side, left : left + side]
        plain, mirrored = network.coarse(torch.cat([window, window.flip(3)]))
        found.append(plain + mirrored.flip(2))
    return torch.stack(found)


def _scores(network: Segmenter, logits: Tensor, view: View, side: int, shift: float) -> Tensor:
    """Return the scores of some classes at the view's size, `(1, classes, h, w)`: means where windows overlap."""
    bottom, right = (corner + side for corner in view.corners[-1])
    scores, windows = logits.new_zeros((logits.shape[1], bottom, right)), logits.new_zeros((bottom, right))
    for (top, left), each in zip(view.corners, logits, strict=True):
        area = (slice(top, top + side), slice(left, left + side))
        scores[:, *area] += network.upsample(each[None], (side, side))[0].sub_(shift).exp_()
        windows[area] += 1
    return scores.div_(windows)[None, :, : view.height, : view.width]
