"""The residual block with BatchNorm folded in and with Split-Attention in its inference form."""

from torch import Tensor, nn

from service.networks.bottleneck import Bottleneck
from service.networks.inference_form.batch_norm import folded
from service.networks.inference_form.splits import SplitAttentionForm, split_outputs
from service.networks.split_attention import SplitAttentionConv2d


class SplitBottleneckForm(nn.Module):
    """The inference form of a `Bottleneck` with Split-Attention.

    With `split_first` the 1x1 convolution before the splits is a convolution for each split, because only that split
    reads its output. Otherwise its output is cut into views.
    """

    def __init__(self, source: Bottleneck, *, split_first: bool) -> None:
        super().__init__()
        attention = source.conv2
        if not isinstance(attention, SplitAttentionConv2d):
            raise TypeError("the block has no Split-Attention")
        self.radix = attention.radix
        first = folded(source.conv1, source.bn1)
        self.conv1 = nn.ModuleList(split_outputs(first, self.radix) if split_first else [first])
        self.pool_before = source.pool_before
        self.conv2 = SplitAttentionForm(attention)
        self.pool_after = source.pool_after
        self.conv3 = folded(source.conv3, source.bn3)
        self.downsample = source.downsample

    def forward(self, x: Tensor) -> Tensor:
        """Map `(n, channels, h, w)` to `(n, 4 * planes, h / stride, w / stride)`."""
        parts = [self.pool_before(conv(x).relu()) for conv in self.conv1]
        if len(parts) < self.radix:
            parts = list(parts[0].chunk(self.radix, dim=1))
        out = self.conv3(self.pool_after(self.conv2(parts)))
        shortcut = x if self.downsample is None else self.downsample(x)
        activated: Tensor = (out + shortcut).relu()
        return activated


def fold_plain(block: Bottleneck) -> None:
    """Fold the BatchNorms of a block without Split-Attention into its convolutions."""
    for number in (1, 2, 3):
        conv, norm = block.get_submodule(f"conv{number}"), block.get_submodule(f"bn{number}")
        if isinstance(conv, nn.Conv2d):
            setattr(block, f"conv{number}", folded(conv, norm))
            setattr(block, f"bn{number}", nn.Identity())
