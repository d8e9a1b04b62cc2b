"""A dilated backbone with a head and an auxiliary head, in PyTorch-Encoding's key layout."""

from torch import Tensor, nn
from torch.nn import functional

from service.networks.resnet import ResNet

AUXILIARY_CHANNELS = 1024


class Segmenter(nn.Module):
    """`(n, 3, h, w)` to `(n, classes, h, w)` logits; `auxiliary` gives those of stage 3, used only in training.

    The released checkpoints were trained and scored with `align_corners=True` (their `up_kwargs`).
    """

    def __init__(
        self, backbone: ResNet, head: nn.Module, auxiliary: nn.Module | None, *, align_corners: bool = True
    ) -> None:
        super().__init__()
        self.pretrained = backbone
        self.head = head
        self.auxlayer = auxiliary
        self.align_corners = align_corners

    def upsample(self, logits: Tensor, size: tuple[int, int]) -> Tensor:
        """Bilinear `(n, classes, h/s, w/s)` to `(n, classes, *size)`."""
        return functional.interpolate(logits, size, mode="bilinear", align_corners=self.align_corners)

    def coarse(self, x: Tensor) -> Tensor:
        """Logits at the head's own resolution, `(n, classes, h/s, w/s)`."""
        logits: Tensor = self.head(self.pretrained.stages(x)[1])
        return logits

    def forward(self, x: Tensor) -> Tensor:
        """Logits at the picture's size."""
        return self.upsample(self.coarse(x), (x.shape[2], x.shape[3]))

    def forward_with_auxiliary(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Main and auxiliary logits, both at the picture's size. Raises `ValueError` without an auxiliary head."""
        if self.auxlayer is None:
            raise ValueError("this segmenter was built without its auxiliary head")
        c3, c4 = self.pretrained.stages(x)
        size = (x.shape[2], x.shape[3])
        return self.upsample(self.head(c4), size), self.upsample(self.auxlayer(c3), size)
