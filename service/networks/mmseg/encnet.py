"""The head of EncNet (arXiv 1803.08904, section 3.1) as in MMSegmentation: the scene weights the channels."""

import torch
from torch import Tensor, nn

from service.networks.mmseg.layers import ConvModule, MmsegHead

CODES = 32


class Encoding(nn.Module):
    """Softly assign each pixel to `CODES` codewords, and sum what is left of the pixels (arXiv 1612.02844, section 3).

    The squared distance `|x - c|^2` is computed as `|x|^2 - 2 x c + |c|^2`, which needs no tensor of pixels by codes by
    channels.
    """

    def __init__(self, channels: int) -> None:
        super().__init__()
        spread = (CODES * channels) ** -0.5
        self.codewords = nn.Parameter(torch.empty(CODES, channels).uniform_(-spread, spread))
        self.scale = nn.Parameter(torch.empty(CODES).uniform_(-1, 0))

    def forward(self, x: Tensor) -> Tensor:
        """Map `(n, channels, h, w)` features to `(n, CODES, channels)` residuals."""
        pixels = x.flatten(2).transpose(1, 2)  # (n, h * w, channels)
        products = pixels @ self.codewords.T  # (n, h * w, CODES)
        distances = pixels.square().sum(2, keepdim=True) - 2 * products + self.codewords.square().sum(1)
        shares = (self.scale * distances).softmax(dim=2)
        return shares.transpose(1, 2) @ pixels - shares.sum(1)[:, :, None] * self.codewords


class EncodingModule(nn.Module):
    """Weight the channels of a map by its encoding."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.encoding_project = ConvModule(channels, channels, 1)
        self.encoding = nn.Sequential(Encoding(channels), nn.BatchNorm1d(CODES), nn.ReLU(inplace=True))
        self.fc = nn.Sequential(nn.Linear(channels, channels), nn.Sigmoid())

    def forward(self, x: Tensor) -> Tensor:
        """Map `(n, channels, h, w)` features to the same shape."""
        weights = self.fc(self.encoding(self.encoding_project(x)).mean(dim=1))  # (n, channels)
        weighted: Tensor = x + x * weights[:, :, None, None]
        return weighted.relu()


class MmsegEncHead(MmsegHead):
    """A 3x3 convolution, the encoding module and the classifier. `se_layer` predicts the scene's classes in training.

    `inner` is the width between them, by default a quarter of `channels` as in the published networks.
    """

    def __init__(self, channels: int, classes: int, inner: int | None = None) -> None:
        inner = inner or channels // 4
        super().__init__(inner, classes)
        self.bottleneck = ConvModule(channels, inner)
        self.enc_module = EncodingModule(inner)
        self.se_layer = nn.Linear(inner, classes)

    def forward(self, x: Tensor) -> Tensor:
        """Map `(n, channels, h, w)` features to `(n, classes, h, w)` logits."""
        return self.classify(self.enc_module(self.bottleneck(x)))
