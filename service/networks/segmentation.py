"""A dilated backbone with a head and an auxiliary head, named as in PyTorch-Encoding's checkpoints."""

from collections.abc import Sequence

from torch import Tensor, nn
from torch.nn import functional

from service.networks.resnet import ResNet

AUXILIARY_CHANNELS = 1024


class Segmenter(nn.Module):
    """`(n, 3, h, w)` to `(n, classes, h, w)` logits; `auxiliary` gives those of stage 3, used only in training.

    `stages` are those, from 0, whose maps the head takes. PyTorch-Encoding's checkpoints were trained and scored with
    `align_corners` (their `up_kwargs`), MMSegmentation's without.
    """

    def __init__(
        self,
        backbone: ResNet,
        head: nn.Module,
        auxiliary: nn.Module | None,
        *,
        stages: tuple[int, ...] = (3,),
        align_corners: bool = True,
    ) -> None:
        super().__init__()
        self.pretrained = backbone
        self.head = head
        self.auxlayer = auxiliary
        self.stages = stages
        self.align_corners = align_corners

    def upsample(self, logits: Tensor, size: tuple[int, int]) -> Tensor:
        """Bilinear `(n, classes, h/s, w/s)` to `(n, classes, *size)`."""
        return functional.interpolate(logits, size, mode="bilinear", align_corners=self.align_corners)

    def coarse(self, x: Tensor) -> Tensor:
        """Logits at the head's own resolution, `(n, classes, h/s, w/s)`."""
        return self._logits(self.pretrained.stages(x))

    def forward(self, x: Tensor) -> Tensor:
        """Logits at the picture's size."""
        return self.upsample(self.coarse(x), (x.shape[2], x.shape[3]))

    def forward_with_auxiliary(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Main and auxiliary logits, both at the picture's size. Raises `ValueError` without an auxiliary head."""
        if self.auxlayer is None:
            raise ValueError("this segmenter was built without its auxiliary head")
        maps = self.pretrained.stages(x)
        size = (x.shape[2], x.shape[3])
        return self.upsample(self._logits(maps), size), self.upsample(self.auxlayer(maps[2]), size)

    def _logits(self, maps: Sequence[Tensor]) -> Tensor:
        logits: Tensor = self.head(*(maps[stage] for stage in self.stages))
        return logits
