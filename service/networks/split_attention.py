"""The Split-Attention convolution of ResNeSt (arXiv 2004.08955, section 3.1 and figure 2)."""

import torch
from torch import Tensor, nn


class RadixSoftmax(nn.Module):
    """Softmax over the radix axis within each cardinal group; a sigmoid if radix is 1 (equation 2).

    The logits are cardinality-major. The weights are radix-major, as are the splits of `SplitAttentionConv2d`.
    """

    def __init__(self, radix: int, cardinality: int) -> None:
        super().__init__()
        self.radix = radix
        self.cardinality = cardinality

    def forward(self, x: Tensor) -> Tensor:
        """Map `(n, cardinality * radix * c)` logits to `(n, radix * cardinality * c)` weights."""
        if self.radix == 1:
            return torch.sigmoid(x)
        # (n, K*R*c) -> (n, K, R, c) -> (n, R, K, c): with K > 1 the transpose keeps the groups apart
        splits = x.view(x.shape[0], self.cardinality, self.radix, -1).transpose(1, 2)
        return splits.softmax(dim=1).flatten(1)


class SplitAttentionConv2d(nn.Module):
    """A grouped 3x3 convolution whose `radix` splits are summed with attention weights computed from the input.

    The attribute names are those of the released checkpoints.
    """

    def __init__(
        self,
        channels: int,
        *,
        radix: int,
        cardinality: int,
        stride: int = 1,
        dilation: int = 1,
        reduction: int = 4,
    ) -> None:
        super().__init__()
        self.radix = radix
        inner = max(channels * radix // reduction, 32)
        self.conv = nn.Conv2d(
            channels,
            channels * radix,
            kernel_size=3,
            stride=stride,
            padding=dilation,
            dilation=dilation,
            groups=cardinality * radix,
            bias=False,
        )
        self.bn0 = nn.BatchNorm2d(channels * radix)
        self.relu = nn.ReLU(inplace=True)
        self.fc1 = nn.Conv2d(channels, inner, kernel_size=1, groups=cardinality)
        self.bn1 = nn.BatchNorm2d(inner)
        self.fc2 = nn.Conv2d(inner, channels * radix, kernel_size=1, groups=cardinality)
        self.rsoftmax = RadixSoftmax(radix, cardinality)

    def attention(self, splits: Tensor) -> Tensor:
        """Map `(n, radix, c, h, w)` splits to `(n, radix, c, 1, 1)` weights; if radix > 1 they sum to 1 over it."""
        gap = splits.sum(dim=1).mean(dim=(2, 3), keepdim=True)  # (n, c, 1, 1)
        logits = self.fc2(self.relu(self.bn1(self.fc1(gap))))  # (n, R*c, 1, 1)
        weights: Tensor = self.rsoftmax(logits.flatten(1))  # (n, R*c)
        return weights.view(weights.shape[0], self.radix, -1, 1, 1)

    def forward(self, x: Tensor) -> Tensor:
        """Map `(n, channels, h, w)` to `(n, channels, h / stride, w / stride)`: the weighted sum of the splits."""
        x = self.relu(self.bn0(self.conv(x)))  # (n, R*c, h, w), radix-major
        splits = torch.unflatten(x, 1, (self.radix, -1))  # (n, R, c, h, w)
        return (self.attention(splits) * splits).sum(dim=1)
