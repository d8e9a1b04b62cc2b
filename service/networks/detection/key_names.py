"""Translate the keys of published detectors to those of `Detector`."""

import re

Rule = tuple[str, str]

# (pattern, replacement), each applied to a key in this order. A replacement of the whole key by nothing drops it.
MMDET: tuple[Rule, ...] = (
    (r"^backbone\.stem\.7\.", "trunk.backbone.bn1."),
    (r"^backbone\.stem\.", "trunk.backbone.conv1."),
    (r"^backbone\.", "trunk.backbone."),
    (r"^neck\.lateral_convs\.", "trunk.fpn.lateral."),
    (r"^neck\.fpn_convs\.", "trunk.fpn.output."),
    (r"^rpn_head\.rpn_conv\.", "trunk.rpn.conv.conv."),
    (r"^rpn_head\.rpn_cls\.", "trunk.rpn.objectness."),
    (r"^rpn_head\.rpn_reg\.", "trunk.rpn.deltas."),
    (r"^roi_head\.(bbox|mask)_head\.(?=[a-z])", r"roi_head.\1_head.0."),
    (r"^roi_head\.bbox_head\.", "box_heads."),
    (r"^roi_head\.mask_head\.", "mask_heads."),
    (r"\.shared_(convs|fcs)\.", r".\1."),
    (r"\.fc_cls\.", ".scores."),
    (r"\.fc_reg\.", ".deltas."),
    (r"\.conv_logits\.", ".logits."),
)

# In the backbone a norm has the name of its convolution. detectron2 counts layers of a head from 1, stages from 2.
DETECTRON2: tuple[Rule, ...] = (
    (r"^proposal_generator\.anchor_generator\.cell_anchors\.\d$", ""),
    (r"^backbone\.bottom_up\.stem\.conv1\.norm\.", "trunk.backbone.bn1."),
    (r"^backbone\.bottom_up\.stem\.conv1\.", "trunk.backbone.conv1."),
    (r"^backbone\.bottom_up\.stem\.conv1_3\.norm\.", "trunk.backbone.bn1."),
    (r"^backbone\.bottom_up\.stem\.conv1_1\.norm\.", "trunk.backbone.conv1.1."),
    (r"^backbone\.bottom_up\.stem\.conv1_2\.norm\.", "trunk.backbone.conv1.4."),
    (r"^backbone\.bottom_up\.stem\.conv1_1\.", "trunk.backbone.conv1.0."),
    (r"^backbone\.bottom_up\.stem\.conv1_2\.", "trunk.backbone.conv1.3."),
    (r"^backbone\.bottom_up\.stem\.conv1_3\.", "trunk.backbone.conv1.6."),
    *((rf"^backbone\.bottom_up\.res{layer + 1}\.", f"trunk.backbone.layer{layer}.") for layer in (1, 2, 3, 4)),
    (r"^(trunk\.backbone\.layer\d\.\d+)\.conv(\d)\.norm\.", r"\1.bn\2."),
    (r"\.shortcut\.norm\.", ".downsample.-1."),
    (r"\.shortcut\.", ".downsample.-2."),
    *((rf"^backbone\.fpn_(lateral|output){level + 2}\.", rf"trunk.fpn.\1.{level}.") for level in range(4)),
    (r"^(trunk\.fpn\.\w+\.\d)\.norm\.", r"\1.bn."),
    (r"^(trunk\.fpn\.\w+\.\d)\.(weight|bias)$", r"\1.conv.\2"),
    (r"^proposal_generator\.rpn_head\.conv\.", "trunk.rpn.conv.conv."),
    (r"^proposal_generator\.rpn_head\.objectness_logits\.", "trunk.rpn.objectness."),
    (r"^proposal_generator\.rpn_head\.anchor_deltas\.", "trunk.rpn.deltas."),
    (r"^roi_heads\.(box_head|box_predictor|mask_head)\.(?=[a-z])", r"roi_heads.\1.0."),
    (r"^roi_heads\.box_(head|predictor)\.", "box_heads."),
    (r"^roi_heads\.mask_head\.", "mask_heads."),
    *((rf"\.(?:conv|mask_fcn){layer}\.norm\.", f".convs.{layer - 1}.bn.") for layer in range(1, 9)),
    *(
        (rf"^((?:box|mask)_heads\.\d)\.(?:conv|mask_fcn){layer}\.", rf"\1.convs.{layer - 1}.conv.")
        for layer in range(1, 9)
    ),
    (r"^(box_heads\.\d)\.fc1\.", r"\1.fcs.0."),
    (r"\.cls_score\.", ".scores."),
    (r"\.bbox_pred\.", ".deltas."),
    (r"\.deconv\.", ".upsample."),
    (r"\.predictor\.", ".logits."),
)


def translated(key: str, rules: tuple[Rule, ...], *, pooled_shortcut: bool) -> str | None:
    """Return the key in `Detector`, or None for one that is no weight.

    With `pooled_shortcut` the shortcut of a block pools first (ResNet-D and ResNeSt), so its layers count from 1.
    """
    for pattern, replacement in rules:
        key = re.sub(pattern, replacement, key)
    first = 1 if pooled_shortcut else 0
    for layer in (0, 1):
        key = key.replace(f".downsample.{layer - 2}.", f".downsample.{first + layer}.")
    return key or None
