"""The layers that the pyramid and the heads of both families share."""

from torch import Tensor, nn

CHANNELS = 256  # of every map behind the backbone, in all published detectors


class ConvNorm(nn.Module):
    """A convolution that keeps the size of the map, with BatchNorm or else a bias, and with ReLU if `relu` is set."""

    def __init__(self, channels: int, out: int, kernel: int, *, norm: bool, relu: bool) -> None:
        super().__init__()
        self.conv = nn.Conv2d(channels, out, kernel, padding=kernel // 2, bias=not norm)
        self.bn: nn.Module = nn.BatchNorm2d(out) if norm else nn.Identity()
        self.relu: nn.Module = nn.ReLU(inplace=True) if relu else nn.Identity()

    def forward(self, x: Tensor) -> Tensor:
        """Map `(n, channels, h, w)` to `(n, out, h, w)`."""
        activated: Tensor = self.relu(self.bn(self.conv(x)))
        return activated
