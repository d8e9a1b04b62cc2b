"""Rewrite networks for inference: the same mathematics and weights in a form that runs faster.

The networks of `service.networks` stay as the papers and the published code write them. They are the numeric reference.
"""

from dataclasses import dataclass

from torch import nn

from service.networks.bottleneck import Bottleneck
from service.networks.detection.layers import ConvNorm
from service.networks.inference_form import atrous
from service.networks.inference_form.batch_norm import fold_sequence, fold_stem, folded
from service.networks.inference_form.blocks import SplitBottleneckForm, fold_plain
from service.networks.mmseg.layers import ConvModule
from service.networks.resnet import ResNet
from service.networks.split_attention import SplitAttentionConv2d


@dataclass(frozen=True)
class Form:
    """Which rewrites an engine wants; without any the network stays the reference.

    `fold` folds every BatchNorm into its convolution. `split_attention` avoids tensors of five axes; with `split_first`
    the convolution before the splits is split too. `taps` crops the taps of atrous convolutions.
    """

    fold: bool = False
    split_attention: bool = False
    split_first: bool = False
    taps: bool = False


REFERENCE = Form()


def rewrite(network: nn.Module, form: Form) -> nn.Module:
    """Return the network in a form. Its modules are replaced in place.

    It must be one of this project's, in evaluation mode and with its weights.
    """
    if form.fold:
        _fold(network)
    for name, child in list(network.named_children()):
        setattr(network, name, rewrite(child, form))
    if form.split_attention and isinstance(network, Bottleneck) and isinstance(network.conv2, SplitAttentionConv2d):
        return SplitBottleneckForm(network, split_first=form.split_first)
    if form.taps and isinstance(network, nn.Conv2d) and atrous.fits(network):
        return atrous.CroppedTaps(network)
    return network


def _fold(module: nn.Module) -> None:
    """Fold the BatchNorms among a module's own children."""
    if isinstance(module, nn.Sequential):
        fold_sequence(module)
    elif isinstance(module, ConvModule):
        module.conv = folded(module.conv, module.bn)
        module.bn = nn.Identity()  # type: ignore[assignment]
    elif isinstance(module, ConvNorm):
        module.conv, module.bn = folded(module.conv, module.bn), nn.Identity()
    elif isinstance(module, Bottleneck):
        fold_plain(module)
    elif isinstance(module, SplitAttentionConv2d):
        module.conv, module.fc1 = folded(module.conv, module.bn0), folded(module.fc1, module.bn1)
        module.bn0 = module.bn1 = nn.Identity()  # type: ignore[assignment]
    elif isinstance(module, ResNet):
        fold_stem(module)
