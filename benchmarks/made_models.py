"""`python -m benchmarks.made_models STORE`: ResNeSt-50 and DeepLabV3-ResNeSt-50 for measurements, without a download.

`python -m benchmarks.made_models STORE MODEL...` makes others of the published models, detectors too.

Their cards are those of the published models under other names. Their weights are random, so the answers mean nothing,
but each image has its own answer. They take as long to compute as trained weights: no number is infinite or denormal.
"""

import hashlib
import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import click
import numpy as np
import numpy.typing as npt
import tomlkit

from service.measure.load import corpus
from service.models import zoo
from service.models.cards import LABEL_SETS, ModelCard
from service.tasks.detection.task import DETECTION
from tests.random_weights import calibrate, calibrate_detector

PUBLISHED = Path(__file__).parents[1] / "model_store"
MADE = {"made-resnest50": "resnest50", "made-deeplab50": "deeplab_resnest50_ade"}  # each with the card it copies
STARTERS = ("starter-classifier", "starter-segmenter")  # trained models whose weights are in PUBLISHED
SOURCE = "python -m benchmarks.made_models"  # of the cards of made models
SEED = 20041955
SPREAD = 4.0  # deviation of a logit over the samples: the best of 1000 classes then gets about 0.1 to 0.9
# The scale of a block beside its shortcut. With 1, rounding to bf16 would change a random network's answers by a third.
BLOCK_SCALE = 0.2
SAMPLES = 16
STRIDE = 32  # the sides of a detector's input are multiples of it
SAMPLE_SIZES = ((400, 300), (300, 400))
MAX_SIDE = 264  # of a segmenter's sample, in pixels: it suffices for statistics, and 520 takes minutes


def make(store: Path, names: Sequence[str] = tuple(MADE), published: Path = PUBLISHED) -> None:
    """Write the models that are not in `store` yet, with their label sets and an example image."""
    store.mkdir(parents=True, exist_ok=True)
    shutil.copy(published / "example.jpg", store)
    for name in names:
        if not (store / name / "card.toml").is_file():
            _make(store, name, published)


def _make(store: Path, name: str, published: Path) -> None:
    original = zoo.read_zoo(published)[MADE.get(name, name)]
    data = weights(original, samples(original))
    file = store / name / "weights" / f"{name}.safetensors"
    labels = store / LABEL_SETS if original.labels.set else store / name
    for folder in (file.parent, labels):
        folder.mkdir(parents=True, exist_ok=True)
    shutil.copy(original.labels_path, labels)
    file.write_bytes(data)
    (store / name / "card.toml").write_text(
        card_text(original, name, hashlib.sha256(data).hexdigest()), encoding="utf-8"
    )


def card_text(original: ModelCard, name: str, digest: str) -> str:
    """Return the card of `original` under another name, with a weight file that has this SHA-256."""
    document: Any = tomlkit.parse((original.folder / "card.toml").read_text(encoding="utf-8"))
    document |= {
        "name": name,
        "summary": f"{original.network.name} with random weights, for speed measurements.",
        "licence": "CC0-1.0",
        "source": SOURCE,
    }
    document["weights"] = {"file": f"weights/{name}.safetensors", "sha256": digest}
    document.pop("published", None)
    return tomlkit.dumps(document)


def samples(card: ModelCard) -> npt.NDArray[np.uint8]:
    """Return preprocessed images of one shape (n, h, w, 3) for the card's network, with many colours and contrasts."""
    from service.engines.heads import head_of  # noqa: PLC0415 - importing torch takes a second
    from service.measure.pipeline import Pipeline  # noqa: PLC0415

    size = card.input.size if head_of(card).has_fixed_size else min(card.input.size, MAX_SIDE)
    spec = card.input.model_copy(update={"size": size})
    pipeline = Pipeline(card.model_copy(update={"input": spec}), lambda _: {})
    made = corpus.make(SAMPLE_SIZES[:1], per_size=SAMPLES, seed=SEED)
    images = np.stack([pipeline.prepare(each.content).pixels for each in made]).astype(np.float32)
    random = np.random.default_rng(SEED)
    contrast, tint = random.uniform(0.1, 1.5, (SAMPLES, 1, 1, 1)), random.uniform(-90, 90, (SAMPLES, 1, 1, 3))
    return ((images - 128) * contrast + 128 + tint).clip(0, 255).astype(np.uint8)


def weights(card: ModelCard, images: npt.NDArray[np.uint8]) -> bytes:
    """Return random weights of the card's network as a safetensors file. The same network gets the same weights."""
    import torch  # noqa: PLC0415 - importing torch takes a second
    from safetensors.torch import save  # noqa: PLC0415

    from service import networks  # noqa: PLC0415

    mean, deviation = (np.array(each, np.float32) for each in (card.input.mean, card.input.std))
    normal = np.moveaxis((images / np.float32(255) - mean) / deviation, 3, 1)
    with torch.random.fork_rng(), torch.no_grad():
        torch.manual_seed(SEED)
        module = networks.build(**card.network.arguments())
        for block in module.modules():
            last: Any = getattr(block, "bn3", None)
            if last is not None:
                last.weight.fill_(BLOCK_SCALE)
        given = torch.from_numpy(np.ascontiguousarray(normal))
        if card.task == DETECTION.name:
            height, width = (side - side % STRIDE for side in given.shape[2:])
            calibrate_detector(module, given[:, :, :height, :width])
        else:
            calibrate(module, given, SPREAD)
    state = module.state_dict()
    return save({key: value.contiguous() for key, value in state.items() if "num_batches_tracked" not in key})


@click.command()
@click.argument("store", type=click.Path(file_okay=False, path_type=Path), default=Path("benchmarks/store"))
@click.argument("names", nargs=-1, metavar="[MODEL]...")
def main(store: Path, names: tuple[str, ...]) -> None:
    """Write the models to STORE if they are not there yet: both of the bars, or published ones with random weights."""
    chosen = names or tuple(MADE)
    make(store, chosen)
    click.echo(f"{', '.join(chosen)} are in {store}: resnest-service run --store {store}")


if __name__ == "__main__":
    main()
