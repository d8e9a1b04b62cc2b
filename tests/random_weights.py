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
