"""The segmentation network: a dilated backbone, a head and an auxiliary head, named as in PyTorch-Encoding."""

from collections.abc import Sequence

from torch import Tensor, nn
from torch.nn import functional

from service.networks.resnet import ResNet

AUXILIARY_CHANNELS = 1024  # of stage 3, the input of the auxiliary head


class Segmenter(nn.Module):
    """A backbone with a segmentation head. `auxiliary` is a head on stage 3, used only in training.

    `stages` are the 0-based stages whose feature maps the head takes. PyTorch-Encoding's checkpoints were trained and
    evaluated with `align_corners` (their `up_kwargs`), MMSegmentation's without.
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
        """Resize `(n, classes, h/s, w/s)` bilinearly to `(n, classes, *size)`, where s is the stride of the head."""
        return functional.interpolate(logits, size, mode="bilinear", align_corners=self.align_corners)

    def coarse(self, x: Tensor) -> Tensor:
        """Map `(n, 3, h, w)` to `(n, classes, h/s, w/s)` logits at the resolution of the head."""
        return self._logits(self.pretrained.stages(x))

    def forward(self, x: Tensor) -> Tensor:
        """Map `(n, 3, h, w)` to `(n, classes, h, w)` logits."""
        return self.upsample(self.coarse(x), (x.shape[2], x.shape[3]))

    def forward_with_auxiliary(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Map `(n, 3, h, w)` to the main and the auxiliary logits, both `(n, classes, h, w)`.

        Raises `ValueError` without an auxiliary head.
        """
        if self.auxlayer is None:
            raise ValueError("this segmenter was built without its auxiliary head")
        maps = self.pretrained.stages(x)
        size = (x.shape[2], x.shape[3])
        return self.upsample(self._logits(maps), size), self.upsample(self.auxlayer(maps[2]), size)

    def _logits(self, maps: Sequence[Tensor]) -> Tensor:
        logits: Tensor = self.head(*(maps[stage] for stage in self.stages))
        return logits
