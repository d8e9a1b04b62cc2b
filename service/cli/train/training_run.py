"""Train a model on a training set, and add it to the store with its scores."""
# ruff: noqa: PLC0415 - torch is loaded when a training begins

import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import click
import numpy as np

from service.cli.accuracy import left_out, unknown_sign
from service.cli.accuracy.unknown_sign import UnknownSign
from service.cli.models import next_steps
from service.cli.terminal import duration, progress
from service.cli.train import features, held_out, new_model, training_set
from service.cli.train.labelled_photos import Labelled
from service.cli.train.new_model import NewModel, Place
from service.cli.train.training_set import TrainingSet
from service.errors import ServiceError
from service.imaging import decoder, preprocess
from service.measure import image_file
from service.models import model_order
from service.models.cards import CardError, ModelCard

if TYPE_CHECKING:
    from PIL import Image
    from torch import Tensor

    from service.engines.training.fine_tuning import Recipe
    from service.engines.training.linear_head import LinearHead
    from service.measure.pipeline import Pipeline

LARGER: Final = 1.25  # of the side that the network needs: random crops then lose no detail
PIXEL_BYTES: Final = 4  # that Pillow takes for RGB
SAMPLE: Final = 32  # photos whose size in memory is measured


@dataclass(frozen=True)
class Trained:
    """Weights by key, the facts about their training for the card, and the sign of an unknown image or None."""

    state: "Mapping[str, Tensor]"
    facts: Mapping[str, Any]
    sign: UnknownSign | None = None


@dataclass(frozen=True)
class TrainingRun:
    """A training from `base`, whose `pipeline` returns features. Without a `recipe` only the last layer is fitted.

    `others` is a folder of images that show none of the labels, which fit the domain score. With `keeps_copies`, photos
    that look alike count as different ones.
    """

    store: Path
    base: ModelCard
    where: Place
    pipeline: "Pipeline"
    hold_out: int
    seed: int
    recipe: "Recipe | None"
    others: Path | None = None
    keeps_copies: bool = False

    def train(self, labelled: Labelled) -> tuple[ModelCard, TrainingSet]:
        """Add the model to the store, print its scores, and return its card and the photos.

        Raises `CardError` and `OSError`; the store then has no new file.
        """
        begun = time.monotonic()
        photos = training_set.prepare(
            labelled, self.pipeline, self.hold_out, self.seed, say, keeps_copies=self.keeps_copies
        )
        trained = self._trained(photos)
        counts = {"photos": photos.counts(~photos.held_out), "held_out": photos.counts(photos.held_out)}
        copies = {"keeps_near_copies": True} if self.keeps_copies else {"near_copies": dict(photos.near_copies)}
        facts = {"seed": self.seed, **trained.facts, "left_out": photos.left_out, **copies, **counts}
        with NewModel(self.store, self.where) as model:
            tables = new_model.tables(self.where, self.base, photos.labels, facts)
            card = model.write(tables, photos.labels, trained.state, trained.sign)
            images = photos.chosen(photos.held_out)
            with progress("Held-out photos", len(images), 0) as step:
                scores = held_out.scores(card, images, step)
            rates = {"calibration": dict(trained.sign.rates)} if trained.sign else {}
            model_order.record(self.store)
            card = model.finish(held_out.measured(scores) | rates)
        held_out.report(scores, counts["photos"])
        held_out.report_sign(trained.sign)
        click.echo(f"Wrote {card.folder}, version {card.version}, in {duration(time.monotonic() - begun)}")
        click.echo(next_steps.after_adding(card.name, self.store))
        return card, photos

    def _trained(self, photos: TrainingSet) -> Trained:
        from service.engines.training import linear_head
        from service.models.weights import checkpoint

        fitted = ~photos.held_out
        say(f"Fitting the last layer to {photos.features.shape[1]} features of {int(fitted.sum())} photos")
        head = linear_head.fit(photos.features[fitted], photos.class_ids[fitted], photos.folds[fitted])
        say(f"Cross-validation: mean recall of the labels {head.mean_recall:.1%}, log loss {head.log_loss:.3f}")
        facts = {
            "trained": "the last layer",
            "penalty": head.penalty,
            "temperature": round(head.temperature, 4),
            "cross_validation": {"mean_recall": round(head.mean_recall, 4), "log_loss": round(head.log_loss, 4)},
        }
        if self.recipe is None:
            state = {**checkpoint.read(self.base), "fc.weight": head.weight, "fc.bias": head.bias}
            return Trained(state, facts, self._sign(photos, head))
        found = self._fine_tuned(photos, self.recipe, head)
        return Trained(found.state, {**facts, **found.facts})

    def _sign(self, photos: TrainingSet, head: "LinearHead") -> UnknownSign:
        """Return the sign of an unknown image, by the features of the photos and of the others."""
        others = None
        if self.others:
            paths = left_out.images(self.others)
            with progress("Other images", len(paths), 0) as step:
                found = features.extract(self.pipeline, paths, step)
            left_out.say(found.left_out, self.others)
            others = found.features
        held_out = photos.held_out
        return unknown_sign.of_training(head, photos.features[~held_out], photos.features[held_out], others)

    def _fine_tuned(self, photos: TrainingSet, recipe: "Recipe", head: "LinearHead") -> Trained:
        from service.engines.training import fine_tuning, linear_head

        fitted, validation = photos.folds > 0, photos.folds == 0
        ids = photos.class_ids
        examples = fine_tuning.Examples(
            [decoded(self.pipeline, image.path) for image in photos.chosen(fitted)],
            ids[fitted].tolist(),
            np.stack(
                [self.pipeline.prepare(image_file.read(image.path)).pixels for image in photos.chosen(validation)]
            ),
            ids[validation],
        )
        begin = linear_head.fit(photos.features[fitted], ids[fitted], photos.folds[fitted])  # not seen by validation
        with progress("Epochs", recipe.epochs, 0) as step:

            def on_epoch(epoch: int, loss: float, mean_recall: float) -> None:
                step(1, 0)
                say(f"Epoch {epoch}: loss {loss:.3f}, validation mean recall {mean_recall:.1%}")

            found = fine_tuning.fine_tune(self.base, begin, examples, recipe, on_epoch)
        if found.log_loss > head.log_loss:
            say(
                f"Warning: the fine-tuned network has the log loss {found.log_loss:.3f} on the validation photos, and "
                f"the last layer alone {head.log_loss:.3f} in cross-validation; compare with a run without --finetune"
            )
        facts = {
            "trained": f"the last layer and the last {recipe.stages} stages",
            "temperature": round(found.temperature, 4),
            "validation": {"mean_recall": round(found.mean_recall, 4), "log_loss": round(found.log_loss, 4)},
            "finetune": asdict(recipe),
        }
        return Trained(found.state, facts)


def require_memory(pipeline: "Pipeline", paths: Sequence[Path], available: int) -> None:
    """Raise `CardError` if a fine-tuning on these photos takes more than the `available` bytes.

    It keeps all of them decoded. Their size is estimated from a sample that is spread over the list.
    """
    sizes = []
    for path in paths[:: max(1, len(paths) // SAMPLE)]:
        try:
            image = decoded(pipeline, path)
        except (ServiceError, OSError):
            continue  # it will be left out
        sizes.append(PIXEL_BYTES * image.width * image.height)
    needed = len(paths) * sum(sizes) / max(1, len(sizes))
    if needed > available:
        raise CardError(
            f"--finetune keeps all photos in memory: {len(paths)} photos take {needed / 1e6:.0f} MB, and "
            f"{available / 1e6:.0f} MB are available; use fewer photos, or train without --finetune"
        )


def decoded(pipeline: "Pipeline", path: Path) -> "Image.Image":
    """Return an upright RGB image, at most as large as random crops of it need."""
    side = round(LARGER * preprocess.needed_side(pipeline.spec))
    image = decoder.decode(image_file.read(path), pipeline.limits, needed=side).image
    shrink = min(image.size) / side
    if shrink <= 1:
        return image
    return image.resize((round(image.width / shrink), round(image.height / shrink)), reducing_gap=2.0)


def say(what: str) -> None:
    """Write a line of progress to standard error."""
    click.echo(what, err=True)
