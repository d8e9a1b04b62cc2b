"""Fold BatchNorm into the convolution before it.

In evaluation BatchNorm is `a * x + b` for each channel (arXiv 1502.03167, algorithm 2), and so is a convolution's
scale and bias.
"""

import itertools

from torch import nn
from torch.nn.utils import fusion

from service.networks.resnet import ResNet


def folded(conv: nn.Conv2d, norm: nn.Module) -> nn.Conv2d:
    """Return a convolution that computes `norm(conv(x))`. `norm` is a BatchNorm in evaluation mode, or the identity.

    Raises `TypeError` for anything else.
    """
    if isinstance(norm, nn.Identity):
        return conv
    if type(norm) is not nn.BatchNorm2d:  # a subclass may do more
        raise TypeError(f"{type(norm).__name__} cannot be folded")
    return fusion.fuse_conv_bn_eval(conv, norm)


def fold_sequence(sequence: nn.Sequential) -> None:
    """Fold every BatchNorm of a sequence that follows a convolution. The identity takes its place."""
    layers = list(sequence)
    for index, (conv, norm) in enumerate(itertools.pairwise(layers)):
        if type(conv) is nn.Conv2d and type(norm) is nn.BatchNorm2d:
            sequence[index] = folded(conv, norm)
            sequence[index + 1] = nn.Identity()


def fold_stem(network: ResNet) -> None:
    """Fold the BatchNorm behind the stem into the stem's last convolution."""
    *before, last = network.conv1 if isinstance(network.conv1, nn.Sequential) else [network.conv1]
    network.conv1 = nn.Sequential(*before, last, network.bn1)
    fold_sequence(network.conv1)
    network.bn1 = nn.Identity()  # type: ignore[assignment]
