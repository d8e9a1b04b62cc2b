"""`resnest-service train`: a classifier of your own labels, from a folder for each label."""
# ruff: noqa: PLC0415 - a command imports what it needs when it runs

import os
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import click

from service.cli.options import path_option, store
from service.config.cores import SLEEPING_THREADS
from service.host.run_options import RunOptions
from service.host.served_models.selection import select_models

if TYPE_CHECKING:
    from service.cli.train.features import Features
    from service.engines.training.fine_tuning import Recipe
    from service.models.cards import ModelCard

# Options of --finetune, with the paper's names: default, range, help.
RECIPE: Final[Mapping[str, tuple[int | float, click.IntRange | click.FloatRange, str]]] = {
    "epochs": (20, click.IntRange(1, 1000), "Passes over the photos."),
    "batch-size": (32, click.IntRange(2, 1024), "Photos in one step."),
    "learning-rate": (0.01, click.FloatRange(0, 1, min_open=True), "Peak of the cosine schedule."),
    "warm-up": (2, click.IntRange(0, 100), "Epochs in which the rate rises to its peak."),
    "weight-decay": (1e-4, click.FloatRange(0, 1), "Weight decay of convolutions and of the last layer."),
    "label-smoothing": (0.1, click.FloatRange(0, 0.9), "Share of the target that all labels get equally."),
    "mixup": (0.2, click.FloatRange(0, 10), "Alpha of mixup; 0 turns it off."),
    "rand-augment": (9, click.IntRange(0, 30), "Magnitude of RandAugment's two operations; 0 turns it off."),
    "stages": (1, click.IntRange(1, 4), "Stages of the network to train, counted from the last."),
}

Decorated = Callable[..., None]


def recipe_options(command: Decorated) -> Decorated:
    """Add the options of `RECIPE`. Their value is None where the user gave none."""
    for name, (default, kind, text) in reversed(list(RECIPE.items())):
        help_text = f"With --finetune: {text[0].lower()}{text[1:-1]}.  [default: {default:g}]"
        command = click.option(f"--{name}", type=kind, help=help_text)(command)
    return command


@click.command()
@store
@click.argument("photos", required=False, type=click.Path(exists=True, file_okay=False, path_type=Path))
@click.option("--from", "base", required=True, metavar="MODEL", help="Classifier of the store to begin with.")
@click.option("--name", help="Name of the new model.")
@click.option("--replace", is_flag=True, help="Replace a model of that name, if `train` made it.")
@click.option("--split", default="", help="Folder in PHOTOS that has the folders of the labels, such as train.")
@click.option(
    "--hold-out",
    type=click.IntRange(2, 10),
    default=5,
    show_default=True,
    help="Hold out one photo of this many, to measure the accuracy.",
)
@path_option(
    "--others",
    kind="folder",
    exists=True,
    help="Folder of images that show none of the labels. They fit the sign of an unknown image, and measure it.",
)
@click.option(
    "--keep-near-copies", is_flag=True, help="Count photos that look alike as different ones, as drawings may be."
)
@click.option("--seed", type=click.IntRange(0, 2**32 - 1), default=0, show_default=True, help="Seed of all choices.")
@click.option("--finetune", is_flag=True, help="Train the last stages of the network too. This takes longer.")
@recipe_options
@path_option("--suggest", kind="folder", exists=True, help="Folder of unlabelled images: name those to label next.")
@click.option("--count", type=click.IntRange(1), default=20, show_default=True, help="Number of suggestions.")
def train(store: Path, photos: Path | None, base: str, **options: Any) -> None:
    """Train a classifier of your own labels on PHOTOS, and add it to the model store.

    PHOTOS has a folder for each label. The network of --from stays as it is, and a new last layer is fitted to its
    features. One photo of five is held out and measures the accuracy. Each label needs at least 10 different photos.

    With --suggest, the images of another folder that are most worth a label are named, one on each line. Without PHOTOS
    the model of --from chooses them, and nothing is trained.
    """
    _check(photos, options)
    os.environ |= SLEEPING_THREADS | os.environ
    from service.cli.train.features import operation_of
    from service.cli.train.suggest_run import suggest
    from service.cli.train.training_run import say
    from service.models.weights import checksums

    (card,) = select_models(RunOptions(store, (base,)), say)
    operation = operation_of(card)
    checksums.verify(card)
    labelled = None
    if photos:
        card, labelled = _train(store, photos, card, operation, options)
    if options["suggest"]:
        suggest(options["suggest"], card, operation, options["count"], labelled)


def _train(
    store: Path, photos: Path, base: "ModelCard", operation: str, options: Mapping[str, Any]
) -> "tuple[ModelCard, Features | None]":
    """Add the new model to the store. Return its card, and the features of the labelled photos if it has the same."""
    from service.cli.train import features, labelled_photos, new_model, training_run
    from service.host.served_models import memory
    from service.measure.pipeline import Pipeline

    where = new_model.place(store, options["name"], replace=options["replace"])
    new_model.require_space(store, base)
    labelled = labelled_photos.read(photos, options["split"])
    recipe = _recipe(options)
    pipeline = Pipeline.load(base, operation=operation)
    if recipe and memory.MEMINFO.exists():  # only Linux says what is available
        training_run.require_memory(pipeline, [image.path for image in labelled.dataset.images], memory.available())
    if options["others"]:
        features.require_readable(pipeline, options["others"])
    chosen = (options["hold_out"], options["seed"], recipe, options["others"])
    run = training_run.TrainingRun(store, base, where, pipeline, *chosen, keeps_copies=options["keep_near_copies"])
    card, found = run.train(labelled)
    return card, found.features if recipe is None else None


def _check(photos: Path | None, options: Mapping[str, Any]) -> None:
    """Raise `click.UsageError` for options that do not go together."""
    given = [name for name in RECIPE if options[name.replace("-", "_")] is not None]
    if given and not options["finetune"]:
        raise click.UsageError(f"--{given[0]} is for --finetune")
    if photos and not options["name"]:
        raise click.UsageError("name the new model with --name")
    if not photos and not options["suggest"]:
        raise click.UsageError("name a folder of PHOTOS, or a folder of unlabelled images with --suggest")
    if options["others"] and (options["finetune"] or not photos):
        raise click.UsageError(
            "--others is for PHOTOS without --finetune; calibrate a fine-tuned model with `calibrate`"
        )
    if not photos and options["name"]:
        raise click.UsageError("--name is for a new model, which needs PHOTOS")


def _recipe(options: Mapping[str, Any]) -> "Recipe | None":
    if not options["finetune"]:
        return None
    from service.engines.training.fine_tuning import Recipe

    fields = {name.replace("-", "_"): default for name, (default, _, _) in RECIPE.items()}
    chosen: dict[str, Any] = {name: fields[name] if options[name] is None else options[name] for name in fields}
    return Recipe(**chosen, seed=options["seed"])
