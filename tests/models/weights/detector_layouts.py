"""The key layouts of published detectors, made from our keys: the inverse of `service.networks.detection.key_names`."""

import re
from collections.abc import Mapping

from torch import Tensor

State = dict[str, Tensor]

MMDET = (
    (r"^trunk\.backbone\.conv1\.(?=\d)", "backbone.stem."),
    (r"^trunk\.backbone\.", "backbone."),
    (r"^trunk\.fpn\.lateral\.", "neck.lateral_convs."),
    (r"^trunk\.fpn\.output\.", "neck.fpn_convs."),
    (r"^trunk\.rpn\.conv\.conv\.", "rpn_head.rpn_conv."),
    (r"^trunk\.rpn\.objectness\.", "rpn_head.rpn_cls."),
    (r"^trunk\.rpn\.deltas\.", "rpn_head.rpn_reg."),
    (r"^(box_heads\.\d)\.(convs|fcs)\.", r"\1.shared_\2."),
    (r"\.scores\.", ".fc_cls."),
    (r"^(box_heads\.\d)\.deltas\.", r"\1.fc_reg."),
    (r"^(mask_heads\.\d)\.logits\.", r"\1.conv_logits."),
    (r"^box_heads\.", "roi_head.bbox_head."),
    (r"^mask_heads\.", "roi_head.mask_head."),
)
STEM = "backbone.bottom_up.stem."
STEM_LAYERS = {"0": "1.", "1": "1.norm.", "3": "2.", "4": "2.norm.", "6": "3."}
DETECTRON2 = (
    *(
        (rf"^trunk\.backbone\.conv1\.{ours}\.", f"backbone.bottom_up.stem.conv1_{theirs}")
        for ours, theirs in STEM_LAYERS.items()
    ),
    (r"^trunk\.backbone\.conv1\.", "backbone.bottom_up.stem.conv1."),
    *((rf"^trunk\.backbone\.layer{layer}\.", f"backbone.bottom_up.res{layer + 1}.") for layer in (1, 2, 3, 4)),
    (r"^(backbone\.bottom_up\.res\d\.\d+)\.bn(\d)\.", r"\1.conv\2.norm."),
    *((rf"^trunk\.fpn\.(\w+)\.{level}\.conv\.", rf"backbone.fpn_\g<1>{level + 2}.") for level in range(4)),
    *((rf"^trunk\.fpn\.(\w+)\.{level}\.bn\.", rf"backbone.fpn_\g<1>{level + 2}.norm.") for level in range(4)),
    (r"^trunk\.rpn\.conv\.conv\.", "proposal_generator.rpn_head.conv."),
    (r"^trunk\.rpn\.objectness\.", "proposal_generator.rpn_head.objectness_logits."),
    (r"^trunk\.rpn\.deltas\.", "proposal_generator.rpn_head.anchor_deltas."),
    (r"^box_heads\.(\d)\.scores\.", r"roi_heads.box_predictor.\1.cls_score."),
    (r"^box_heads\.(\d)\.deltas\.", r"roi_heads.box_predictor.\1.bbox_pred."),
    (r"^box_heads\.(\d)\.fcs\.0\.", r"roi_heads.box_head.\1.fc1."),
    *((rf"^box_heads\.(\d)\.convs\.{layer}\.conv\.", rf"roi_heads.box_head.\1.conv{layer + 1}.") for layer in range(4)),
    *(
        (rf"^box_heads\.(\d)\.convs\.{layer}\.bn\.", rf"roi_heads.box_head.\1.conv{layer + 1}.norm.")
        for layer in range(4)
    ),
    *((rf"^mask_heads\.0\.convs\.{layer}\.conv\.", f"roi_heads.mask_head.mask_fcn{layer + 1}.") for layer in range(8)),
    *(
        (rf"^mask_heads\.0\.convs\.{layer}\.bn\.", f"roi_heads.mask_head.mask_fcn{layer + 1}.norm.")
        for layer in range(8)
    ),
    (r"^mask_heads\.0\.upsample\.", "roi_heads.mask_head.deconv."),
    (r"^mask_heads\.0\.logits\.", "roi_heads.mask_head.predictor."),
)


def mmdet(state: Mapping[str, Tensor]) -> State:
    """Return a detector's state in the layout of OpenMMLab. Only heads of a cascade have numbers."""
    deep = any(key.startswith("trunk.backbone.conv1.0.") for key in state)
    rules = ((r"^trunk\.backbone\.bn1\.", "backbone.stem.7." if deep else "backbone.bn1."), *MMDET)
    return _renamed(state, rules)


def detectron2(state: Mapping[str, Tensor]) -> State:
    """Return a detector's state in the layout of detectron2, with the anchors that it saved in 2020."""
    deep = any(key.startswith("trunk.backbone.conv1.0.") for key in state)
    norm = "backbone.bottom_up.stem.conv1_3.norm." if deep else "backbone.bottom_up.stem.conv1.norm."
    first = 1 if deep else 0  # a block with a deep stem pools in its shortcut
    shortcut = ((rf"\.downsample\.{first}\.", ".shortcut."), (rf"\.downsample\.{first + 1}\.", ".shortcut.norm."))
    found = _renamed(state, ((r"^trunk\.backbone\.bn1\.", norm), *shortcut, *DETECTRON2))
    anchors = next(iter(state.values())).new_zeros(3, 4)
    return found | {f"proposal_generator.anchor_generator.cell_anchors.{level}": anchors for level in range(5)}


def _renamed(state: Mapping[str, Tensor], rules: tuple[tuple[str, str], ...]) -> State:
    several = {kind: any(key.startswith(f"{kind}_heads.1.") for key in state) for kind in ("box", "mask")}
    found = {}
    for key, value in state.items():
        name = key
        for pattern, replacement in rules:
            name = re.sub(pattern, replacement, name)
        kind = key.partition("_heads.")[0]
        if kind in several and not several[kind]:
            name = re.sub(r"^(roi_heads?\.\w+)\.0\.", r"\1.", name)
        found[name] = value
    return found
