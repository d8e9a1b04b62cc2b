"""The head of DANet (arXiv 1809.02983, section 3) as in MMSegmentation: attention of pixels and of channels."""

import torch
from torch import Tensor, nn
from torch.nn import functional

from service.networks.mmseg.layers import ConvModule, MmsegHead

QUERY_CHANNELS = 64


class Scale(nn.Module):
    """Multiply by one learnt number, which begins at 0."""

    def __init__(self) -> None:
        super().__init__()
        self.scale = nn.Parameter(torch.zeros(()))

    def forward(self, x: Tensor) -> Tensor:
        """Return `x` times the number."""
        return x * self.scale


class PositionAttention(nn.Module):
    """Add to each pixel a mean of all pixels, weighted by likeness (section 3.2)."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.query_project = nn.Conv2d(channels, QUERY_CHANNELS, 1)
        self.key_project = nn.Conv2d(channels, QUERY_CHANNELS, 1)
        self.value_project = nn.Conv2d(channels, channels, 1)
        self.gamma = Scale()

    def forward(self, x: Tensor) -> Tensor:
        """Map `(n, channels, h, w)` features to the same shape."""
        query, key, value = (
            project(x).flatten(2).transpose(1, 2)[:, None]  # (n, 1, h * w, channels): one attention head
            for project in (self.query_project, self.key_project, self.value_project)
        )
        context = functional.scaled_dot_product_attention(query, key, value, scale=1.0)  # (n, 1, h * w, channels)
        mixed: Tensor = self.gamma(context[:, 0].transpose(1, 2).reshape(x.shape)) + x
        return mixed


class ChannelAttention(nn.Module):
    """Add to each channel a mean of all channels, weighted by unlikeness as in the published code (section 3.3)."""

    def __init__(self) -> None:
        super().__init__()
        self.gamma = Scale()

    def forward(self, x: Tensor) -> Tensor:
        """Map `(n, channels, h, w)` features to the same shape."""
        flat = x.flatten(2)
        energy = flat @ flat.transpose(1, 2)  # (n, channels, channels)
        weights = (energy.amax(2, keepdim=True) - energy).softmax(dim=2)
        mixed: Tensor = self.gamma((weights @ flat).reshape(x.shape)) + x
        return mixed


class MmsegDAHead(MmsegHead):
    """Both kinds of attention beside each other, their sum and the classifier.

    `pam_conv_seg` and `cam_conv_seg` classify each kind alone, in training. `inner` is the width between, by default a
    quarter of `channels` as in the published networks.
    """

    def __init__(self, channels: int, classes: int, inner: int | None = None) -> None:
        inner = inner or channels // 4
        super().__init__(inner, classes)
        self.pam_in_conv, self.cam_in_conv = ConvModule(channels, inner), ConvModule(channels, inner)
        self.pam, self.cam = PositionAttention(inner), ChannelAttention()
        self.pam_out_conv, self.cam_out_conv = ConvModule(inner, inner), ConvModule(inner, inner)
        self.pam_conv_seg, self.cam_conv_seg = nn.Conv2d(inner, classes, 1), nn.Conv2d(inner, classes, 1)

    def forward(self, x: Tensor) -> Tensor:
        """Map `(n, channels, h, w)` features to `(n, classes, h, w)` logits."""
        by_pixel = self.pam_out_conv(self.pam(self.pam_in_conv(x)))
        by_channel = self.cam_out_conv(self.cam(self.cam_in_conv(x)))
        return self.classify(by_pixel + by_channel)
