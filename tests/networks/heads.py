"""Reference implementations of the heads, written from the papers: convolutions by key, batch norm by formula."""

from collections.abc import Callable, Mapping

import torch
from torch import Tensor
from torch.nn import functional

State = Mapping[str, Tensor]


def layer(state: State, conv: str, norm: str, x: Tensor, *, rate: int = 1) -> Tensor:
    """Apply a convolution without bias, batch norm by its formula, and ReLU; padding keeps the size of the map.

    The number of groups follows from the shape of the weight.
    """
    weight = state[f"{conv}.weight"]
    groups = x.shape[1] // weight.shape[1]
    x = functional.conv2d(x, weight, padding=rate * (weight.shape[2] // 2), dilation=rate, groups=groups)
    mean, var, scale, shift = (
        state[f"{norm}.{name}"].view(1, -1, 1, 1) for name in ("running_mean", "running_var", "weight", "bias")
    )
    return ((x - mean) / (var + 1e-5).sqrt() * scale + shift).clamp(min=0)


def classifier(state: State, name: str, x: Tensor) -> Tensor:
    """Apply the 1x1 convolution with bias at the end of every head."""
    return functional.conv2d(x, state[f"{name}.weight"], state[f"{name}.bias"])


def deeplab(state: State, x: Tensor, root: str = "") -> Tensor:
    """Apply ASPP with image pooling by interpolation, a 3x3 convolution and the classifier."""
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
    """Apply a 3x3 convolution and the classifier. The auxiliary head has the same form."""
    x = layer(state, f"{root}conv5.0", f"{root}conv5.1", x)
    return classifier(state, f"{root}conv5.4", x)


def bilinear(out: int, sides: int, *, align_corners: bool) -> Tensor:
    """Return the matrix `(out, sides)` that resizes a row, for either definition of the pixel positions."""
    matrix = torch.zeros(out, sides, dtype=torch.float64)
    for place in range(out):
        corners, centres = place * (sides - 1) / max(out - 1, 1), max((place + 0.5) * sides / out - 0.5, 0.0)
        at = corners if align_corners else centres
        low = min(int(at), sides - 1)
        high = min(low + 1, sides - 1)
        matrix[place, low] += 1 - (at - low)
        matrix[place, high] += at - low
    return matrix


def resize(x: Tensor, size: tuple[int, int], *, align_corners: bool) -> Tensor:
    """Resize bilinearly by a matrix product for the rows and one for the columns."""
    rows, columns = (
        bilinear(out, sides, align_corners=align_corners).to(x.dtype)
        for out, sides in zip(size, x.shape[2:], strict=True)
    )
    return rows @ x @ columns.T


def regions(x: Tensor, bins: int) -> Tensor:
    """Return the means over `bins` by `bins` regions, whose edges are rounded outwards."""
    height, width = x.shape[2:]

    def edges(side: int) -> list[slice]:
        return [slice(i * side // bins, -(-(i + 1) * side // bins)) for i in range(bins)]

    rows = [torch.stack([x[:, :, row, column].mean((2, 3)) for column in edges(width)], -1) for row in edges(height)]
    return torch.stack(rows, -2)


def mmseg_layer(state: State, name: str, x: Tensor, *, rate: int = 1) -> Tensor:
    """Apply `layer` with the names of MMSegmentation."""
    return layer(state, f"{name}.conv", f"{name}.bn", x, rate=rate)


def separable(state: State, name: str, x: Tensor, *, rate: int = 1) -> Tensor:
    """Apply a depthwise convolution, then the pointwise 1x1 convolution."""
    return mmseg_layer(state, f"{name}.pointwise_conv", mmseg_layer(state, f"{name}.depthwise_conv", x, rate=rate))


def pyramid(state: State, x: Tensor, root: str, atrous: Callable[..., Tensor]) -> Tensor:
    """Apply ASPP: image pooling, then the four branches, then the 3x3 convolution over all of them."""
    pooled = mmseg_layer(state, f"{root}image_pool.1", x.mean((2, 3), keepdim=True))
    branches = [resize(pooled, (x.shape[2], x.shape[3]), align_corners=False)]
    branches.append(mmseg_layer(state, f"{root}aspp_modules.0", x))
    for place, rate in ((1, 12), (2, 24), (3, 36)):
        branches.append(atrous(state, f"{root}aspp_modules.{place}", x, rate=rate))
    return mmseg_layer(state, f"{root}bottleneck", torch.cat(branches, dim=1))


def mmseg_deeplab(state: State, x: Tensor, root: str = "") -> Tensor:
    """Apply the DeepLabV3 head."""
    return classifier(state, f"{root}conv_seg", pyramid(state, x, root, mmseg_layer))


def mmseg_deeplabplus(state: State, x: Tensor, detail: Tensor, root: str = "") -> Tensor:
    """Apply the DeepLabV3+ head to the maps of the last and the first stage."""
    detail = mmseg_layer(state, f"{root}c1_bottleneck", detail)
    coarse = resize(pyramid(state, x, root, separable), (detail.shape[2], detail.shape[3]), align_corners=False)
    x = torch.cat([coarse, detail], dim=1)
    x = separable(state, f"{root}sep_bottleneck.1", separable(state, f"{root}sep_bottleneck.0", x))
    return classifier(state, f"{root}conv_seg", x)


def pooled_pyramid(state: State, x: Tensor, root: str) -> Tensor:
    """Apply PSPNet's pooling at four scales and the 3x3 convolution over all of them."""
    size = (x.shape[2], x.shape[3])
    levels = [x]
    for place, bins in enumerate((1, 2, 3, 6)):
        pooled = mmseg_layer(state, f"{root}psp_modules.{place}.1", regions(x, bins))
        levels.append(resize(pooled, size, align_corners=False))
    return mmseg_layer(state, f"{root}bottleneck", torch.cat(levels, dim=1))


def mmseg_psp(state: State, x: Tensor, root: str = "") -> Tensor:
    """Apply the PSPNet head."""
    return classifier(state, f"{root}conv_seg", pooled_pyramid(state, x, root))


def mmseg_fcn(state: State, x: Tensor, root: str = "") -> Tensor:
    """Apply FCN with two convolutions and a third over the input and their result."""
    out = mmseg_layer(state, f"{root}convs.1", mmseg_layer(state, f"{root}convs.0", x))
    out = mmseg_layer(state, f"{root}conv_cat", torch.cat([x, out], dim=1))
    return classifier(state, f"{root}conv_seg", out)


def mmseg_auxiliary(state: State, x: Tensor, root: str = "") -> Tensor:
    """Apply one convolution and the classifier."""
    return classifier(state, f"{root}conv_seg", mmseg_layer(state, f"{root}convs.0", x))


def mmseg_uper(state: State, *maps: Tensor, root: str = "") -> Tensor:
    """Apply the UPerNet head: a top-down path over laterals, then a convolution over all levels."""
    tops = [pooled_pyramid(state, maps[-1], root)]
    for place in (2, 1, 0):
        lateral = mmseg_layer(state, f"{root}lateral_convs.{place}", maps[place])
        tops.append(lateral + resize(tops[-1], (lateral.shape[2], lateral.shape[3]), align_corners=False))
    smooth = [mmseg_layer(state, f"{root}fpn_convs.{place}", tops[3 - place]) for place in (0, 1, 2)]
    size = (smooth[0].shape[2], smooth[0].shape[3])
    levels = [resize(level, size, align_corners=False) for level in (*smooth, tops[0])]
    return classifier(state, f"{root}conv_seg", mmseg_layer(state, f"{root}fpn_bottleneck", torch.cat(levels, dim=1)))


def mmseg_enc(state: State, x: Tensor, root: str = "") -> Tensor:
    """Apply the EncNet head, with the distance of every pixel to every codeword written out."""
    x = mmseg_layer(state, f"{root}bottleneck", x)
    name = f"{root}enc_module."
    pixels = mmseg_layer(state, f"{name}encoding_project", x).flatten(2).transpose(1, 2)[:, :, None]  # (n, p, 1, c)
    rest = pixels - state[f"{name}encoding.0.codewords"]
    shares = (state[f"{name}encoding.0.scale"] * rest.pow(2).sum(3)).softmax(dim=2)
    codes = (shares[..., None] * rest).sum(1)  # (n, codes, c)
    mean, var, scale, shift = (
        state[f"{name}encoding.1.{each}"][:, None] for each in ("running_mean", "running_var", "weight", "bias")
    )
    codes = ((codes - mean) / (var + 1e-5).sqrt() * scale + shift).clamp(min=0)
    weights = functional.linear(codes.mean(1), state[f"{name}fc.0.weight"], state[f"{name}fc.0.bias"]).sigmoid()
    return classifier(state, f"{root}conv_seg", (x * (1 + weights[:, :, None, None])).clamp(min=0))


def mmseg_da(state: State, x: Tensor, root: str = "") -> Tensor:
    """Apply the DANet head, with the attention of each pixel and each channel written out."""
    first, second = (mmseg_layer(state, f"{root}{kind}_in_conv", x) for kind in ("pam", "cam"))
    query, key, value = (
        classifier(state, f"{root}pam.{kind}_project", first).flatten(2) for kind in ("query", "key", "value")
    )
    likeness = torch.einsum("ncp,ncq->npq", query, key).softmax(dim=2)
    mixed = torch.einsum("npq,ncq->ncp", likeness, value).reshape(first.shape)
    first = first + state[f"{root}pam.gamma.scale"] * mixed
    flat = second.flatten(2)
    unlikeness = (-torch.einsum("ncp,ndp->ncd", flat, flat)).softmax(dim=2)  # a shift changes no softmax
    second = second + state[f"{root}cam.gamma.scale"] * torch.einsum("ncd,ndp->ncp", unlikeness, flat).reshape(
        second.shape
    )
    first, second = (mmseg_layer(state, f"{root}{k}_out_conv", y) for k, y in (("pam", first), ("cam", second)))
    return classifier(state, f"{root}conv_seg", first + second)


# The heads of PyTorch-Encoding, then those of MMSegmentation. Each takes the maps that the network gives it.
HEADS: dict[str, Callable[..., Tensor]] = {"deeplab": deeplab, "fcn": fcn}
MMSEG: dict[str, Callable[..., Tensor]] = {
    "mmseg_deeplab": mmseg_deeplab,
    "mmseg_deeplabplus": mmseg_deeplabplus,
    "mmseg_psp": mmseg_psp,
    "mmseg_fcn": mmseg_fcn,
    "mmseg_uper": mmseg_uper,
    "mmseg_enc": mmseg_enc,
    "mmseg_da": mmseg_da,
}


def features(channels: int, height: int, width: int) -> Tensor:
    """Return random float64 maps, `(2, channels, height, width)`."""
    generator = torch.Generator().manual_seed(4)
    return torch.randn(2, channels, height, width, generator=generator, dtype=torch.float64)
