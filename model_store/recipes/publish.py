"""Publish trained weights as a model of the store: copy them, choose the input size, score, complete the card.

`python model_store/recipes/publish.py --photos DIR --weights FILE --model model_store/starter-classifier`
"""

import argparse
import hashlib
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import composites
import photos
import tomlkit

from service import engines
from service.measure.accuracy import datasets, runs, subjects
from service.measure.pipeline import Pipeline
from service.models import cards
from service.models.cards import ModelCard
from service.models.inputs import Input
from service.tasks.classification.scoring import ClassificationScores
from service.tasks.detection.scoring import DetectionScores
from service.tasks.scoring_base import LabelledImage

# The candidates; the validation images choose one, and only that one is scored on the test images.
SIZES = {
    "classification": (128, 144, 160, 176, 192),
    "segmentation": (192, 224, 256, 320),
    "detection": (224, 256, 288),
}
LONG_TO_SHORT = 5 / 3  # about the limit of the published detectors, 1333 to 800 pixels


def held_out(folder: Path) -> list[LabelledImage]:
    """Return the validation photos, without the masks that were drawn as polygons."""
    return [
        LabelledImage(photo.path, photo.label, photo.mask if photo.mask_kind == "trimap" else None)
        for photo in photos.read(folder)
        if photo.split == "validation"
    ]


def inputs(card: ModelCard) -> Iterator[Input]:
    """Yield the card's input at each size and, for classifiers, also with a crop of the whole short side."""
    for size in SIZES[card.task]:
        if card.task == "detection":
            yield card.input.model_copy(update={"short": size, "size": round(size * LONG_TO_SHORT)})
            continue
        yield card.input.model_copy(update={"size": size})
        if card.task == "classification":
            yield card.input.model_copy(update={"size": size, "profile": "timm", "crop_ratio": 1.0})


def score(card: ModelCard, engine: engines.Engine, items: list[LabelledImage]) -> dict[str, Any]:
    """Return the content of the card's `[measured]`. The first figure decides the choice of the input."""
    subject = subjects.of_card(card, Pipeline(card, engine))
    if card.task != "classification":
        items = [each for each in items if each.mask or each.instances is not None]
    found: Any = runs.scores(subject, runs.outcomes(subject, items, subject.open()))
    if isinstance(found, ClassificationScores):
        labels = {label: round(share, 4) for label, share in found.recall.items()}
        confusion = [list(row) for row in found.confusion]
        return {"top1": round(found.top1, 4), "images": found.images, "recall": labels, "confusion": confusion}
    if isinstance(found, DetectionScores):
        return detection_figures(found)
    return {
        "mean_iou": round(found.mean_iou, 4),
        "pet_iou": round(found.foreground_iou, 4),
        "pixel_accuracy": round(found.pixel_accuracy, 4),
        "images": found.images,
        "iou": {label: round(share, 4) for label, share in found.iou.items()},
    }


def detection_figures(found: DetectionScores) -> dict[str, Any]:
    """Return the average precision of boxes and of masks, and of the boxes of each label."""
    figures: dict[str, Any] = {}
    for kind, each in (("box", found.boxes), ("mask", found.masks)):
        for name in ("ap", "ap50", "ap75"):
            figures[f"{kind}_{name}"] = round((each and getattr(each, name)) or 0.0, 4)
    by_label = {label: round(share, 4) for label, share in found.by_label.items()}
    return figures | {"images": found.images, "box_ap_of": by_label}


def score_composites(card: ModelCard, engine: engines.Engine, folder: Path, count: int) -> dict[str, Any]:
    """Return the figures on a test set of `count` composites."""
    with tempfile.TemporaryDirectory() as out:
        composites.write(Path(out), composites.scenes_of(folder, count))
        return score(card, engine, list(datasets.read(Path(out)).images))


def main() -> None:
    """Complete the folder of one model."""
    parser = argparse.ArgumentParser(description="Publish trained weights as a model of the store.")
    parser.add_argument("--photos", type=Path, required=True)
    parser.add_argument("--weights", type=Path, required=True)
    parser.add_argument("--model", type=Path, required=True, help="the model's folder, with its card")
    parser.add_argument("--composites", type=int, default=composites.COUNT, help="composites that score a detector")
    args = parser.parse_args()
    document = tomlkit.parse((args.model / "card.toml").read_text())
    shutil.copyfile(args.weights, args.model / "weights.safetensors")
    document["weights"]["sha256"] = hashlib.sha256(args.weights.read_bytes()).hexdigest()
    document.pop("calibration", None)  # it was made with other weights
    for path in args.model.glob("domain-*.safetensors"):
        path.unlink()
    write(args.model, document)

    card = cards.read(args.model)
    engine = engines.ENGINES["torch"](card, "cpu")  # in float32, the reference for the other engines
    chosen, best = card.input, -1.0
    for candidate in inputs(card):
        figures = score(card.model_copy(update={"input": candidate}), engine, held_out(args.photos))
        first = next(iter(figures.values()))
        print(f"validation {candidate.profile} {candidate.short or candidate.size}: {first}", flush=True)
        if first > best:
            chosen, best = candidate, first
    for name in ("profile", "size", "short", "crop_ratio"):
        if getattr(chosen, name) is not None:
            document["input"][name] = getattr(chosen, name)
    card = card.model_copy(update={"input": chosen})
    document["measured"] = score(card, engine, list(datasets.read(args.photos, "index").images))
    if card.task == "detection":
        document["measured"]["composites"] = score_composites(card, engine, args.photos, args.composites)
    write(args.model, document)
    print(document["measured"])


def write(folder: Path, document: tomlkit.TOMLDocument) -> None:
    """Write the card into the model's folder."""
    (folder / "card.toml").write_text(tomlkit.dumps(document))


if __name__ == "__main__":
    main()
