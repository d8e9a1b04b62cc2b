"""Split-Attention (arXiv 2004.08955, section 3.1) without a tensor of five axes.

A grouped convolution is a convolution for each group of channels. The mean of a sum is the sum of the means. So each
split has a convolution of its own, its pooled value is added instead of the whole map, and no map is reshaped.
"""

import torch
from torch import Tensor, nn

from service.networks.inference_form.batch_norm import folded
from service.networks.split_attention import SplitAttentionConv2d


class SplitAttentionForm(nn.Module):
    """The inference form of a `SplitAttentionConv2d`, with the same weights."""

    def __init__(self, source: SplitAttentionConv2d) -> None:
        super().__init__()
        self.convs = nn.ModuleList(split_groups(folded(source.conv, source.bn0), source.radix))
        self.fc1 = folded(source.fc1, source.bn1)
        self.fc2 = source.fc2
        self.rsoftmax = source.rsoftmax

    def forward(self, parts: list[Tensor]) -> Tensor:
        """Map the radix input parts `(n, channels / radix, h, w)` to `(n, channels, h / stride, w / stride)`."""
        splits = [conv(part).relu() for conv, part in zip(self.convs, parts, strict=True)]
        pooled = splits[0].mean((2, 3), keepdim=True)
        for split in splits[1:]:
            pooled = pooled + split.mean((2, 3), keepdim=True)
        logits = self.fc2(self.fc1(pooled).relu())  # (n, radix * channels, 1, 1)
        weights = self.rsoftmax(logits.flatten(1))[:, :, None, None].chunk(len(splits), dim=1)
        out: Tensor = splits[0] * weights[0]
        for split, weight in zip(splits[1:], weights[1:], strict=True):
            out = out + split * weight
        return out


def split_groups(conv: nn.Conv2d, parts: int) -> list[nn.Conv2d]:
    """Return a grouped convolution as `parts` convolutions, each of an equal number of consecutive groups."""
    found = []
    for weight, bias in zip(conv.weight.chunk(parts), _chunks(conv.bias, parts), strict=True):
        part = nn.Conv2d(
            conv.in_channels // parts,
            conv.out_channels // parts,
            conv.kernel_size,  # type: ignore[arg-type]
            conv.stride,  # type: ignore[arg-type]
            conv.padding,  # type: ignore[arg-type]
            conv.dilation,  # type: ignore[arg-type]
            conv.groups // parts,
            bias=bias is not None,
            device="meta",
        )
        part.weight = nn.Parameter(weight.contiguous(), requires_grad=False)
        part.bias = None if bias is None else nn.Parameter(bias.contiguous(), requires_grad=False)
        found.append(part)
    return found


def split_outputs(conv: nn.Conv2d, parts: int) -> list[nn.Conv2d]:
    """Return a convolution without groups as `parts` convolutions of equal parts of its output channels."""
    found = []
    for weight, bias in zip(conv.weight.chunk(parts), _chunks(conv.bias, parts), strict=True):
        part = nn.Conv2d(conv.in_channels, len(weight), conv.kernel_size, conv.stride, conv.padding, device="meta")  # type: ignore[arg-type]
        part.weight = nn.Parameter(weight.contiguous(), requires_grad=False)
        part.bias = None if bias is None else nn.Parameter(bias.contiguous(), requires_grad=False)
        found.append(part)
    return found


def _chunks(bias: Tensor | None, parts: int) -> tuple[Tensor | None, ...]:
    return (None,) * parts if bias is None else torch.chunk(bias, parts)
