"""The heads that run on each proposal: scores and box deltas, and masks."""

from torch import Tensor, nn

from service.networks.detection.layers import ConvNorm

BOX_BINS = 7  # rows and columns of a proposal's features in a box head
MASK_BINS = 14  # the same in a mask head, whose masks are twice as large


class BoxHead(nn.Module):
    """Convolutions and fully connected layers, then a score for each class and the background, and box deltas.

    The published heads are `4conv1fc` (four convolutions with BatchNorm, one layer; Group Normalization, arXiv
    1803.08494, section 4.2) and `2fc` (Faster R-CNN with FPN, arXiv 1612.03144, section 4.2). `per_class` says whether
    each class has deltas of its own; the heads of a cascade do not (arXiv 1712.00726, section 4.1).
    """

    def __init__(
        self, channels: int, classes: int, *, convolutions: int, layers: int, hidden: int, per_class: bool
    ) -> None:
        super().__init__()
        self.convs = nn.Sequential(
            *(ConvNorm(channels, channels, 3, norm=True, relu=True) for _ in range(convolutions))
        )
        inputs = [channels * BOX_BINS * BOX_BINS, *[hidden] * (layers - 1)]
        self.fcs = nn.ModuleList(nn.Linear(each, hidden) for each in inputs)
        self.scores = nn.Linear(hidden, classes + 1)
        self.deltas = nn.Linear(hidden, 4 * (classes if per_class else 1))
        self.relu = nn.ReLU(inplace=True)

    def forward(self, features: Tensor) -> tuple[Tensor, Tensor]:
        """Map `(n, c, 7, 7)` to logits `(n, classes + 1)`, and deltas `(n, 4)` or `(n, 4 * classes)`.

        Background is the last logit. Deltas are ordered by class.
        """
        x = self.convs(features).flatten(1)
        for layer in self.fcs:
            x = self.relu(layer(x))
        return self.scores(x), self.deltas(x)


class MaskHead(nn.Module):
    """Convolutions, a transposed convolution that doubles the sides, and a mask for each class.

    Mask R-CNN, arXiv 1703.06870, section 3.1 and figure 4 (right).
    """

    def __init__(self, channels: int, classes: int, *, convolutions: int, norm: bool) -> None:
        super().__init__()
        self.convs = nn.Sequential(
            *(ConvNorm(channels, channels, 3, norm=norm, relu=True) for _ in range(convolutions))
        )
        self.upsample = nn.ConvTranspose2d(channels, channels, kernel_size=2, stride=2)
        self.relu = nn.ReLU(inplace=True)
        self.logits = nn.Conv2d(channels, classes, 1)

    def forward(self, features: Tensor) -> Tensor:
        """Map `(n, c, 14, 14)` to the logits of masks `(n, classes, 28, 28)`."""
        logits: Tensor = self.logits(self.relu(self.upsample(self.convs(features))))
        return logits
