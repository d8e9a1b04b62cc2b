"""Model stores for tests: cards of tiny networks, their labels and, if wanted, random weights."""

import hashlib
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Any

from service.models.cards import ModelCard
from tests.random_weights import calibrate, calibrate_detector

SEED = 14
SPREAD = 0.5  # standard deviation of a random network's logits

FLOWERS_AND_PETS = ("cat", "dog", "daisy", "dandelion", "rose", "sunflower", "tulip")
ANIMALS = ("cat\t#e6194b", "dog\t#4363d8")
PETS = ("background\t#000000", "cat\t#e6194b", "dog\t#4363d8")

Tables = Mapping[str, Mapping[str, Any]]

MODELS: Mapping[str, tuple[str, tuple[str, ...], Tables]] = {
    "tiny-classifier": (
        "classification",
        FLOWERS_AND_PETS,
        {
            "network": {"name": "resnest14", "classes": 7},
            "input": {"profile": "official", "size": 64},
            "serving": {"batch_size": 8, "max_batch_delay_ms": 20, "workers": 1, "deadline_s": 10},
        },
    ),
    "tiny-classifier-b": (
        "classification",
        FLOWERS_AND_PETS[:3],
        {
            "network": {"name": "resnest14", "classes": 3},
            "input": {"profile": "timm", "size": 64},
            "serving": {"batch_size": 2, "max_batch_delay_ms": 2},
        },
    ),
    "tiny-segmenter": (
        "segmentation",
        PETS,
        {
            # The published head has 256 channels, and more weights than the backbone.
            "network": {"name": "deeplab_resnest14", "classes": 3, "output_stride": 16, "head_channels": 16},
            "input": {"profile": "proportional", "size": 64, "interpolation": "bilinear", "multiple": 16},
            "serving": {"batch_size": 4, "max_batch_delay_ms": 20, "workers": 1, "deadline_s": 10},
        },
    ),
    "tiny-detector": (
        "detection",
        ANIMALS,
        {
            "network": {"name": "starter_mask_rcnn_resnest14", "classes": 2, "proposals": 30},
            "input": {"profile": "proportional", "size": 128, "short": 96, "interpolation": "bilinear"},
            "serving": {"batch_size": 1, "workers": 1, "deadline_s": 20},
        },
    ),
}


def write_store(folder: Path, *names: str, weights: bool = True, changes: Tables | None = None) -> Path:
    """Write the models of these names (all if none is given) under `folder`, and return the folder.

    Without `weights` the cards name a weight file that does not exist. That is enough for a gateway, and needs no
    torch. `changes` replaces fields of the cards' tables: `{"serving": {"workers": 2}}`.
    """
    for name in names or MODELS:
        task, labels, tables = MODELS[name]
        model = folder / name
        model.mkdir(parents=True)
        model.joinpath("labels.txt").write_text("\n".join(labels) + "\n", encoding="utf-8")
        merged = {table: {**fields, **(changes or {}).get(table, {})} for table, fields in tables.items()}
        content = _weights(**merged["network"]) if weights else b""
        if weights:
            model.joinpath("weights.safetensors").write_bytes(content)
        digest = hashlib.sha256(content).hexdigest() if weights else "0" * 64
        merged["weights"] = {"file": "weights.safetensors", "sha256": digest}
        model.joinpath("card.toml").write_text(_card(name, task, merged), encoding="utf-8")
    return folder


def add_domain(folder: Path, *, min_score: float = 0.0, features: int = 2048) -> None:
    """Add a calibration with a random domain score to a model's folder. Its head is the same each time."""
    import torch  # noqa: PLC0415 - as in `_write_weights`
    from safetensors.torch import save  # noqa: PLC0415

    generator = torch.Generator().manual_seed(SEED)
    content = save({"weight": torch.randn(2, features, generator=generator), "bias": torch.zeros(2)})
    folder.joinpath("domain-1.safetensors").write_bytes(content)
    card = folder / "card.toml"
    text = card.read_text(encoding="utf-8")
    (digest,) = [line.split('"')[1] for line in text.splitlines() if line.startswith("sha256 = ")]
    domain = {"file": "domain-1.safetensors", "sha256": hashlib.sha256(content).hexdigest(), "min_score": min_score}
    lines = ["\n[calibration]", *_fields({"made_of": digest}), "\n[calibration.domain]", *_fields(domain)]
    card.write_text("\n".join([text, *lines, ""]), encoding="utf-8")


def serving(card: ModelCard, **changes: Any) -> ModelCard:
    """Return the card with these values in its table `[serving]`."""
    return card.model_copy(update={"serving": card.serving.model_copy(update=changes)})


def _card(name: str, task: str, tables: Tables) -> str:
    head = {"name": name, "version": "1.0", "task": task, "summary": f"A random {name}.", "licence": "CC0-1.0"}
    lines = [*_fields({**head, "source": "https://example.org/tests"})]
    for table, fields in tables.items():
        lines += [f"\n[{table}]", *_fields(fields)]
    return "\n".join(lines) + "\n"


def _fields(fields: Mapping[str, Any]) -> list[str]:
    return [f"{key} = {_value(value)}" for key, value in fields.items()]


def _value(value: Any) -> str:
    if isinstance(value, str):
        return f'"{value}"'
    return str(value).lower() if isinstance(value, bool) else str(value)


@cache  # a test process writes the same models often, and the calibration of one takes a second
def _weights(**network: Any) -> bytes:
    """Return a file of random weights in half precision, equal for equal networks."""
    import torch  # noqa: PLC0415 - the gateway's tests write stores without weights, and without torch
    from safetensors.torch import save  # noqa: PLC0415

    from service import networks  # noqa: PLC0415
    from service.networks.detection.detector import Detector  # noqa: PLC0415

    with torch.random.fork_rng(), torch.no_grad():
        torch.manual_seed(SEED)
        module = networks.build(**{key: value for key, value in network.items() if key != "proposals"})
        coarse = torch.randn(8, 3, 8, 8)
        upsampled = [
            torch.nn.functional.interpolate(coarse, size=(64, 64), mode=mode) for mode in ("bilinear", "nearest")
        ]
        if isinstance(module, Detector):
            calibrate_detector(module, torch.cat(upsampled))
        else:
            calibrate(module, torch.cat(upsampled), SPREAD)
    state = {key: value for key, value in module.state_dict().items() if "num_batches_tracked" not in key}
    return save({key: value.half().contiguous() for key, value in state.items()})


def rename_model(model: Path, target: Path) -> None:
    """Move the folder of a model, and give its card the name of the new one."""
    card = model.rename(target) / "card.toml"
    card.write_text(card.read_text(encoding="utf-8").replace(model.name, target.name), encoding="utf-8")
