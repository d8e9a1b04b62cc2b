"""Translate the key layouts of published checkpoints to the keys of our networks."""

from collections.abc import Iterable, Mapping

from service.models.cards import KeyProfile
from service.models.weights.checksums import WeightsError

DATA_PARALLEL = "module."  # prefix that torch.nn.DataParallel adds to every key

# (prefix, replacement): the first prefix that matches a key is used. Our classifiers have the official keys, which
# timm and torchvision share. Our segmenters have PyTorch-Encoding's `pretrained.`, `head.` and `auxlayer.`.
# `openmmlab` is the layout of OpenMMLab's classifiers, `mmseg` that of its segmenters; their heads match ours inside.
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
}


def translated(keys: Iterable[str], profile: KeyProfile) -> dict[str, str]:
    """Return the key in our network for each key of a checkpoint. Raises `WeightsError` if two keys become equal."""
    keys = list(keys)
    parallel = bool(keys) and all(key.startswith(DATA_PARALLEL) for key in keys)
    plain = {key: key.removeprefix(DATA_PARALLEL) if parallel else key for key in keys}
    renamed = {key: _renamed(name, profile) for key, name in plain.items()}
    if len(set(renamed.values())) < len(renamed):
        names = list(renamed.values())
        duplicates = sorted({name for name in names if names.count(name) > 1})
        raise WeightsError(f"two keys of the checkpoint mean the same weight: {', '.join(duplicates[:4])}")
    return renamed


def _renamed(key: str, profile: KeyProfile) -> str:
    for prefix, replacement in PREFIXES[profile]:
        if key.startswith(prefix):
            return replacement + key.removeprefix(prefix)
    return key
