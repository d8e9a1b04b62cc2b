"""The layouts of keys that published checkpoints have, and the way from each to our networks' own."""

from collections.abc import Iterable, Mapping

from service.models.cards import KeyProfile
from service.models.weights.checksums import WeightsError

DATA_PARALLEL = "module."  # torch.nn.DataParallel puts it before every key

# (prefix, its replacement): the first that fits a key is used. Our keys are the official ones, which timm and
# torchvision share; our segmenters have PyTorch-Encoding's `pretrained.`, `head.` and `auxlayer.`. `openmmlab` are
# OpenMMLab's classifiers, `mmseg` its segmenters, whose heads have the same names inside as ours.
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
    """Each key of a checkpoint and what our network calls it. Raises `WeightsError` where two become one."""
    keys = list(keys)
    parallel = bool(keys) and all(key.startswith(DATA_PARALLEL) for key in keys)
    plain = {key: key.removeprefix(DATA_PARALLEL) if parallel else key for key in keys}
    renamed = {key: _renamed(name, profile) for key, name in plain.items()}
    if len(set(renamed.values())) < len(renamed):
        names = list(renamed.values())
        twice = sorted({name for name in names if names.count(name) > 1})
        raise WeightsError(f"two keys of the checkpoint mean the same weight: {', '.join(twice[:4])}")
    return renamed


def _renamed(key: str, profile: KeyProfile) -> str:
    for prefix, replacement in PREFIXES[profile]:
        if key.startswith(prefix):
            return replacement + key.removeprefix(prefix)
    return key
