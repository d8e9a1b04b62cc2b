"""The heads written once more, straight from their description: convolutions by key, batch norm by its formula."""

from collections.abc import Callable, Mapping

import torch
from torch import Tensor
from torch.nn import functional

State = Mapping[str, Tensor]


def layer(state: State, conv: str, norm: str, x: Tensor, *, rate: int = 1) -> Tensor:
    """Convolution without bias, batch norm by its formula, ReLU; padding keeps the map's size."""
    weight = state[f"{conv}.weight"]
    x = functional.conv2d(x, weight, padding=rate * (weight.shape[2] // 2), dilation=rate)
    mean, var, scale, shift = (
        state[f"{norm}.{name}"].view(1, -1, 1, 1) for name in ("running_mean", "running_var", "weight", "bias")
    )
    return ((x - mean) / (var + 1e-5).sqrt() * scale + shift).clamp(min=0)


def classifier(state: State, name: str, x: Tensor) -> Tensor:
    """The 1x1 convolution with bias that ends every head."""
    return functional.conv2d(x, state[f"{name}.weight"], state[f"{name}.bias"])


def deeplab(state: State, x: Tensor, root: str = "") -> Tensor:
    """ASPP with image pooling by interpolation, a 3x3 convolution and the classifier."""
    aspp = f"{root}aspp"
    branches = [layer(state, f"{aspp}.b0.0", f"{aspp}.b0.1", x)]
    for branch, rate in (("b1", 12), ("b2", 24), ("b3", 36)):
        branches.append(layer(state, f"{aspp}.{branch}.0", f"{aspp}.{branch}.1", x, rate=rate))
    mean = x.mean((2, 3), keepdim=True)
    pooled = layer(state, f"{aspp}.b4.gap.1", f"{aspp}.b4.gap.2", mean)
    branches.append(functional.interpolate(pooled, x.shape[2:], mode="bilinear", align_corners=True))
    x = layer(state, f"{aspp}.project.0", f"{aspp}.project.1", torch.cat(branches, dim=1))
    return classifier(state, f"{root}block.4", layer(state, f"{root}block.0", f"{root}block.1", x))


def fcn(state: State, x: Tensor, root: str = "") -> Tensor:
    """A 3x3 convolution and the classifier; the auxiliary head is one too."""
    x = layer(state, f"{root}conv5.0", f"{root}conv5.1", x)
    return classifier(state, f"{root}conv5.4", x)


HEADS: dict[str, Callable[..., Tensor]] = {"deeplab": deeplab, "fcn": fcn}


def features(channels: int, height: int, width: int) -> Tensor:
    """Random float64 maps, `(2, channels, height, width)`."""
    generator = torch.Generator().manual_seed(4)
    return torch.randn(2, channels, height, width, generator=generator, dtype=torch.float64)
