"""Translate the key layouts of published checkpoints to the keys of our networks."""

from collections.abc import Iterable, Mapping

from service.models.cards import KeyProfile
from service.models.weights.checksums import WeightsError
from service.networks.detection import key_names as detectors

# Names that torch.compile, FSDP and activation checkpointing insert into keys, at any place.
WRAPPERS = frozenset(("_orig_mod", "_fsdp_wrapped_module", "_checkpoint_wrapped_module"))

# (prefix, replacement): the first prefix that matches a key is used. Our classifiers have the official keys, which
# timm and torchvision share. Our segmenters have PyTorch-Encoding's `pretrained.`, `head.` and `auxlayer.`.
# `openmmlab` is the layout of OpenMMLab's classifiers, `mmseg` that of its segmenters; their heads match ours inside.
# Detectors are renamed by `PATTERNS` of the detectors' own keys.
PREFIXES: Mapping[KeyProfile, tuple[tuple[str, str], ...]] = {
    "official": (),
    "timm": (),
    "encoding": (),
    "openmmlab": (
        ("backbone.stem.7.", "bn1."),
        ("backbone.stem.", "conv1."),
        ("backbone.", ""),
        ("head.fc.", "fc."),
    ),
    "mmseg": (
        ("backbone.stem.7.", "pretrained.bn1."),
        ("backbone.stem.", "pretrained.conv1."),
        ("backbone.", "pretrained."),
        ("decode_head.", "head."),
        ("auxiliary_head.", "auxlayer."),
    ),
    "mmdet": (),
    "detectron2": (),
    "detectron2_bgr": (),
}
# (patterns, whether the shortcut of a block pools first). `detectron2_bgr` is the layout of the plain ResNets, whose
# shortcuts do not, and which were trained on images with blue first.
PATTERNS: Mapping[KeyProfile, tuple[tuple[detectors.Rule, ...], bool]] = {
    "mmdet": (detectors.MMDET, False),
    "detectron2": (detectors.DETECTRON2, True),
    "detectron2_bgr": (detectors.DETECTRON2, False),
}
# The weights of the first convolution of a network that was trained on images with blue first.
BLUE_FIRST: Mapping[KeyProfile, str] = {"detectron2_bgr": "trunk.backbone.conv1.weight"}


def translated(keys: Iterable[str], profile: KeyProfile) -> dict[str, str]:
    """Return the key in our network for each key of a checkpoint. Raises `WeightsError` if two keys become equal."""
    by_key = {key: renamed(key, profile) for key in keys}
    if len(set(by_key.values())) < len(by_key):
        names = list(by_key.values())
        duplicates = sorted({name for name in names if names.count(name) > 1})
        raise WeightsError(f"two keys of the checkpoint mean the same weight: {', '.join(duplicates[:4])}")
    return by_key


def renamed(key: str, profile: KeyProfile) -> str:
    """Return the key in our network for a key of a checkpoint."""
    if profile in PATTERNS:
        rules, pooled_shortcut = PATTERNS[profile]
        return detectors.translated(key, rules, pooled_shortcut=pooled_shortcut) or key
    for prefix, replacement in PREFIXES[profile]:
        if key.startswith(prefix):
            return replacement + key.removeprefix(prefix)
    return key


def without_wrappers(key: str) -> str:
    """Return the key without the names that wrappers of modules inserted."""
    return ".".join(part for part in key.split(".") if part not in WRAPPERS)
