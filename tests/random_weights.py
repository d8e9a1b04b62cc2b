"""Random weights for tests and benchmarks that give each image its own answer."""

from typing import Any


def calibrate(module: Any, images: Any, spread: float) -> None:
    """Set the statistics of each BatchNorm from these images, and scale each logit to mean 0 and deviation `spread`.

    Without this, a random network gives nearly the same answer for every image, which would hide swapped answers.
    The tensor `images` (n, 3, h, w) is normalised as the network expects.
    """
    for part in module.modules():
        if hasattr(part, "momentum"):
            part.momentum = 1.0
    module.train()(images)
    logits = module.eval()(images).transpose(0, 1).flatten(1)  # (classes, images and pixels)
    last = module.fc if hasattr(module, "fc") else module.head.block[4]
    gain = spread / logits.std(dim=1)
    last.weight *= gain.view(-1, *[1] * (last.weight.ndim - 1))
    last.bias.sub_(logits.mean(dim=1)).mul_(gain)


def calibrate_detector(module: Any, images: Any) -> None:
    """Make a random detector find different objects in different images.

    Statistics of BatchNorm come from these images (n, 3, h, w). Logits and masks get a deviation of about 3, which
    gives scores from 0 to 1, and box deltas one of about 0.5.
    """
    trunk = module.trunk
    for part in module.modules():
        if hasattr(part, "momentum"):
            part.momentum = 1.0
    module.train()
    trunk.backbone.stages(images)
    module.eval()
    found = trunk(images[:1])
    trunk.rpn.objectness.weight *= 3 / found.objectness.std()
    trunk.rpn.deltas.weight *= 0.3 / found.deltas.std()
    regions = found.p2.unfold(2, 7, 7).unfold(3, 7, 7)[0].flatten(1, 2).transpose(0, 1)
    for head in module.box_heads:
        logits, deltas = head(regions)
        _rescale(head.scores, logits, 3.0)
        _rescale(head.deltas, deltas, 0.5)
    larger = found.p2.unfold(2, 14, 14).unfold(3, 14, 14)[0].flatten(1, 2).transpose(0, 1)
    for head in module.mask_heads:
        _rescale(head.logits, head(larger), 3.0)


def _rescale(layer: Any, output: Any, spread: float) -> None:
    """Scale a layer so that its output has the mean 0 in each channel, and this deviation."""
    dims = [axis for axis in range(output.ndim) if axis != 1]
    gain = spread / output.std(dim=dims)
    layer.weight *= gain.view(-1, *[1] * (layer.weight.ndim - 1))
    layer.bias.sub_(output.mean(dim=dims)).mul_(gain)
