"""The fully convolutional head (arXiv 1411.4038), as PyTorch-Encoding has it."""

from torch import Tensor, nn


class FCNHead(nn.Module):
    """3x3 convolution to `inner` channels, a quarter where it is None, then a 1x1 classifier.

    `(n, c, h, w)` becomes `(n, classes, h, w)`.
    """

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
        """Logits at the map's own resolution."""
        logits: Tensor = self.conv5(x)
        return logits
