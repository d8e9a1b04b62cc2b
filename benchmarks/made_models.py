"""`python -m benchmarks.made_models STORE`: ResNeSt-50 and DeepLabV3-ResNeSt-50 to measure with, without a download.

Their cards are those of the published models, under names of their own. Their weights are random, so that their
answers say nothing of a picture; but each picture has its own answer, and nothing in them is slower or faster to
compute than in trained ones: no number is infinite, none denormal.
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
from service.models import cards
from service.models.cards import LABEL_SETS, ModelCard

PUBLISHED = Path(__file__).parents[1] / "model_store"
MADE = {"made-resnest50": "resnest50", "made-deeplab50": "deeplab_resnest50_ade"}  # by the cards they are made of
SEED = 20041955
SPREAD = 4.0  # deviation of a logit over the samples: of 1000 classes the best then gets some 0.1 to 0.9
CALM = 0.2  # a block's share beside its shortcut: at 1 rounding to bf16 moves a random network's answers by a third
SAMPLES = 16
SAMPLE_SIZES = ((400, 300), (300, 400))
LONGEST = 264  # a segmenter's sample, in pixels: statistics need no more, and 520 takes minutes


def make(store: Path, names: Sequence[str] = tuple(MADE), published: Path = PUBLISHED) -> None:
    """Write the models that are not in `store` yet, with their label sets and an example picture."""
    store.mkdir(parents=True, exist_ok=True)
    shutil.copy(published / "example.jpg", store)
    for name in names:
        if not (store / name / "card.toml").is_file():
            _make(store, name, published)


def _make(store: Path, name: str, published: Path) -> None:
    original = cards.read_zoo(published)[MADE.get(name, name)]
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
    """The card of `original` under another name, with the weights of this SHA-256 beside it."""
    document: Any = tomlkit.parse((original.folder / "card.toml").read_text(encoding="utf-8"))
    document |= {
        "name": name,
        "summary": f"{original.network.name} with random weights, to measure speed with.",
        "licence": "CC0-1.0",
        "source": "python -m benchmarks.made_models",
    }
    document["weights"] = {"file": f"weights/{name}.safetensors", "sha256": digest}
    document.pop("published", None)
    return tomlkit.dumps(document)


def samples(card: ModelCard) -> npt.NDArray[np.uint8]:
    """Pictures of one shape (n, h, w, 3) as the card's network takes them, of many colours and contrasts."""
    from service.engines.heads import head_of  # noqa: PLC0415 - torch, which takes a second
    from service.measure.pipeline import Pipeline  # noqa: PLC0415

    size = card.input.size if head_of(card).has_fixed_size else min(card.input.size, LONGEST)
    spec = card.input.model_copy(update={"size": size})
    pipeline = Pipeline(card.model_copy(update={"input": spec}), lambda _: {})
    made = corpus.make(SAMPLE_SIZES[:1], per_size=SAMPLES, seed=SEED)
    pictures = np.stack([pipeline.prepare(each.content).pixels for each in made]).astype(np.float32)
    draw = np.random.default_rng(SEED)
    contrast, tint = draw.uniform(0.1, 1.5, (SAMPLES, 1, 1, 1)), draw.uniform(-90, 90, (SAMPLES, 1, 1, 3))
    return ((pictures - 128) * contrast + 128 + tint).clip(0, 255).astype(np.uint8)


def weights(card: ModelCard, pictures: npt.NDArray[np.uint8]) -> bytes:
    """Random weights of the card's network, the same for the same network, as the bytes of a safetensors file."""
    import torch  # noqa: PLC0415 - it takes a second
    from safetensors.torch import save  # noqa: PLC0415

    from service import networks  # noqa: PLC0415

    mean, deviation = (np.array(each, np.float32) for each in (card.input.mean, card.input.std))
    normal = np.moveaxis((pictures / np.float32(255) - mean) / deviation, 3, 1)
    with torch.random.fork_rng(), torch.no_grad():
        torch.manual_seed(SEED)
        module = networks.build(**card.network.arguments())
        for block in module.modules():
            last: Any = getattr(block, "bn3", None)
            if last is not None:
                last.weight.fill_(CALM)
        settle(module, torch.from_numpy(np.ascontiguousarray(normal)), SPREAD)
    state = module.state_dict()
    return save({key: value.contiguous() for key, value in state.items() if "num_batches_tracked" not in key})


def settle(module: Any, pictures: Any, spread: float) -> None:
    """Give every BatchNorm these pictures' statistics and every logit mean 0 and deviation `spread` over them.

    A random network gives every picture nearly the same answer; nobody could see pictures mixed up.
    """
    for part in module.modules():
        if hasattr(part, "momentum"):
            part.momentum = 1.0
    module.train()(pictures)
    logits = module.eval()(pictures).transpose(0, 1).flatten(1)  # (classes, pictures and pixels)
    last = module.fc if hasattr(module, "fc") else module.head.block[4]
    gain = spread / logits.std(dim=1)
    last.weight *= gain.view(-1, *[1] * (last.weight.ndim - 1))
    last.bias.sub_(logits.mean(dim=1)).mul_(gain)


@click.command()
@click.argument("store", type=click.Path(file_okay=False, path_type=Path), default=Path("benchmarks/store"))
def main(store: Path) -> None:
    """Make the models in STORE, where they are not there."""
    make(store)
    click.echo(f"{', '.join(MADE)} are in {store}: resnest-service run --store {store}")


if __name__ == "__main__":
    main()
