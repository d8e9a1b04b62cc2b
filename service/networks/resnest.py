"""The published ResNeSt variants (arXiv 2004.08955, tables 1, 3 and 4)."""

from service.networks.bottleneck import BlockStyle
from service.networks.resnet import Architecture

DEPTHS = {
    14: (1, 1, 1, 1),
    26: (2, 2, 2, 2),
    50: (3, 4, 6, 3),
    101: (3, 4, 23, 3),
    200: (3, 24, 36, 3),
    269: (3, 30, 48, 8),
}
# The paper's ablation: (radix s, cardinality x, width d), with the average pool before the 3x3 convolution.
FAST_50 = {
    "1s1x64d": (1, 1, 64),
    "2s1x64d": (2, 1, 64),
    "4s1x64d": (4, 1, 64),
    "1s2x40d": (1, 2, 40),
    "2s2x40d": (2, 2, 40),
    "4s2x40d": (4, 2, 40),
    "1s4x24d": (1, 4, 24),
}


def _style(radix: int, cardinality: int, width: int, *, fast: bool) -> BlockStyle:
    return BlockStyle(radix, cardinality, width, average_down=True, average_downsampling=True, average_first=fast)


ARCHITECTURES = {
    **{
        f"resnest{depth}": Architecture(blocks, _style(2, 1, 64, fast=False), deep_stem=32 if depth <= 50 else 64)
        for depth, blocks in DEPTHS.items()
    },
    **{
        f"resnest50_fast_{name}": Architecture(DEPTHS[50], _style(*shape, fast=True), deep_stem=32)
        for name, shape in FAST_50.items()
    },
    "resnest101_fast": Architecture(DEPTHS[101], _style(2, 1, 64, fast=True), deep_stem=64),
}
