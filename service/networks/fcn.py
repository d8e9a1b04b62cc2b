"""The fully convolutional head (arXiv 1411.4038) as in PyTorch-Encoding."""

from torch import Tensor, nn


class FCNHead(nn.Module):
    """3x3 convolution to `inner` channels (default: a quarter of `channels`) and a 1x1 classifier."""

    def __init__(self, channels: int, classes: int, inner: int | None = None) -> None:
        super().__init__()
        inner = inner or channels // 4
        self.conv5 = nn.Sequential(
            nn.Conv2d(channels, inner, 3, padding=1, bias=False),
            nn.BatchNorm2d(inner),
            nn.ReLU(inplace=True),
            nn.Dropout(0.1),
            nn.Conv2d(inner, classes, 1),
        )

    def forward(self, x: Tensor) -> Tensor:
        """Map `(n, channels, h, w)` features to `(n, classes, h, w)` logits."""
        logits: Tensor = self.conv5(x)
        return logits
