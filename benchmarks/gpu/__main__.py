"""`python -m benchmarks.gpu` or `make bench-gpu`: measure the engine and the service on a CUDA device.

It compares the answers with those of PyTorch in single precision on the CPU. It measures the limits of the device, and
the share of them that the engine reaches at each batch size. Then it measures the service on this host and names its
bottleneck. `--device cpu` runs the same program without a GPU, to test it; its figures mean nothing.
"""

import dataclasses
import sys
from collections.abc import Callable, Iterator, Sequence
from functools import cache, partial
from pathlib import Path
from typing import Any

import click
import torch

from benchmarks import made_models, results
from benchmarks.gpu import forms, rates, roofline
from benchmarks.gpu.answers import NAMES, Reference
from benchmarks.gpu.options import IMAGES_PER_MASK, GpuOptions
from benchmarks.gpu.roofline import Ceilings
from benchmarks.scoreboard import markdown
from service.engines.cuda.device import Cpu, Cuda, Device
from service.measure.tables import table
from service.models import cards
from service.models.cards import ModelCard

DEVICES: dict[str, Callable[[str], Device]] = {"cuda": Cuda, "cpu": lambda _: Cpu()}
SIZES = {"cuda": (8192, 1024), "cpu": (256, 4)}  # the side of a matrix, and the megabytes of a copy
NO_DEVICE = "There is no CUDA device. `--device cpu` runs this program without one, to test it."


@click.command()
@click.option("--device", type=click.Choice(list(DEVICES)), default="cuda", show_default=True)
@click.option("--store", type=click.Path(path_type=Path), default="benchmarks/store", show_default=True)
@click.option("--model", "models", multiple=True, default=tuple(made_models.MADE), show_default=True)
@click.option("--precision", type=click.Choice(["auto", "fp32", "bf16"]), default="auto", show_default=True)
@click.option("--batch-size", type=click.IntRange(1, 256), default=64, show_default=True, help="For classifiers.")
@click.option(
    "--workers", type=click.IntRange(1), default=2, show_default=True, help="Worker processes of the service."
)
@click.option("--callers", default="16,64,256", show_default=True, help="Concurrent callers of the service.")
@click.option(
    "--seconds", type=click.FloatRange(0.01), default=5.0, show_default=True, help="Seconds of each measurement."
)
@click.option(
    "--images",
    type=click.IntRange(IMAGES_PER_MASK),
    default=200,
    show_default=True,
    help="Images whose answers are compared.",
)
@click.option("--engine-only", is_flag=True, help="Do not measure the service, and need none of its packages.")
@click.option(
    "--trained/--no-trained", default=True, show_default=True, help="Compare the starter models' answers too."
)
@click.option("--into", type=click.Path(path_type=Path), default="benchmarks/results", show_default=True)
def main(
    device: str, store: Path, models: Sequence[str], into: Path, *, engine_only: bool, trained: bool, **given: Any
) -> None:
    """Measure the engine of GPUs. Exit with 1 without a CUDA device, if answers differ, or if the service fails."""
    if device == "cuda" and not torch.cuda.is_available():
        raise click.ClickException(NO_DEVICE)
    options = GpuOptions(DEVICES[device](device), **{**given, "callers": tuple(map(int, given["callers"].split(",")))})
    made_models.make(store, [each for each in models if each in made_models.MADE])
    side, megabytes = SIZES[device]
    seconds = min(options.seconds, 1)
    limits = roofline.measure(options.device, options.dtype, side=side, megabytes=megabytes, seconds=seconds)
    click.echo(f"{options.device.name}, {NAMES[options.dtype]}: {limits}")
    document: dict[str, Any] = {
        **results.head("gpu"),
        "versions": {"torch": torch.__version__, "cuda": torch.version.cuda},
        "device": {"name": options.device.name, "precision": NAMES[options.dtype], **dataclasses.asdict(limits)},
        "agreement": [
            Reference.of(card, options).compare(options.engine(card), options.dtype) for card in starters() if trained
        ],
        "models": [],
    }
    for model in models:
        document["models"].append(_measure_model(store, model, limits, options, http=not engine_only))
        write(into, document)
    failed = failures(document)
    click.echo("\n".join(f"FAILED: {each}" for each in failed))
    sys.exit(1 if failed else 0)


def starters() -> Iterator[ModelCard]:
    """Return the cards of the starter models. They are trained, so their answers show the effect of rounding better."""
    return (cards.read(made_models.PUBLISHED / each) for each in made_models.STARTERS)


def _measure_model(store: Path, model: str, limits: Ceilings, options: GpuOptions, *, http: bool) -> dict[str, Any]:
    """Measure one model, and print the results."""
    card = cards.read(store / model)
    reference, engine = Reference.of(card, options), options.engine(card)
    work = cache(partial(roofline.work, card, dtype=options.dtype))  # counting takes longer than a pass on a GPU
    compared, by_size = reference.compare(engine, options.dtype), rates.measure(card, engine, limits, options, work)
    document: dict[str, Any] = {"model": model, "agreement": compared, "engine": by_size}
    click.echo(f"\n{model}\n{table(rates.HEAD, rates.rows(by_size))}")
    del engine  # free its memory, which the next engines need
    options.device.release_memory()
    document["forms"] = forms.measure(reference, limits, options, work)
    click.echo(table(forms.HEAD, forms.rows(document["forms"])))
    options.device.release_memory()
    if http:
        document["http"] = through_http(store, options.card(card), by_size, options)
    return document


def through_http(
    store: Path, card: ModelCard, engine: Sequence[dict[str, float]], options: GpuOptions
) -> dict[str, Any]:
    """Measure the service against the engine's best rate, and print the results. If it fails, return the reason."""
    from benchmarks.gpu import service  # noqa: PLC0415 - a machine for the engine alone has not all packages

    best = max(each["per_s"] for each in engine)
    try:
        return service.through_http(store, card, best, options)
    except (service.ContestError, OSError) as error:
        return {"failed": str(error)}


def failures(document: dict[str, Any]) -> list[str]:
    """Return a sentence for each comparison or measurement that failed."""
    found = [
        f"{each['model']} gives other answers than in single precision"
        for each in _compared(document)
        if not each["holds"]
    ]
    return found + [each["http"]["failed"] for each in document["models"] if "failed" in each.get("http", {})]


def _compared(document: dict[str, Any]) -> list[dict[str, Any]]:
    """Return all comparisons of answers."""
    found = list(document["agreement"])
    for each in document["models"]:
        found += [each["agreement"], *(form["agreement"] for form in each.get("forms", ()) if "agreement" in form)]
    return found


def _subject(compared: dict[str, Any]) -> str:
    return ", ".join(filter(None, (compared["model"], compared.get("form"))))


def write(into: Path, document: dict[str, Any]) -> None:
    """Write the result files with the results so far."""
    results.write(into, "gpu", document, page(document))


def page(document: dict[str, Any]) -> str:
    """Return the results as Markdown: host and command, then each model's rates, its service, and all agreements."""
    device = document["device"]
    limits = Ceilings(*(device[each.name] for each in dataclasses.fields(Ceilings)))
    host = document["host"]
    parts = [
        f"`{document['command']}`, {document['measured_at']}, {device['name']}, {device['precision']}, "
        f"{host['cores']} cores of {host['processor']}, torch {document['versions']['torch']}: {limits}.\n"
    ]
    for each in document["models"]:
        parts.append(f"{each['model']}:\n")
        parts.append(markdown([name.lower() for name in rates.HEAD], rates.rows(each["engine"])))
        parts.append(markdown([name.lower() for name in forms.HEAD], forms.rows(each["forms"])))
        parts += [f"{_through(each['http'])}\n"] if "http" in each else []
    lines = [
        (_subject(each), str(each["images"]), f"{each['equal']:.2%}", f"{each['difference']:.1e}")
        for each in _compared(document)
    ]
    parts.append(markdown(("against fp32 on the CPU", "images", "equal", "scores apart"), lines))
    return "\n".join(parts)


def _through(http: dict[str, Any]) -> str:
    if "failed" in http:
        return f"Through HTTP: {http['failed']}"
    rate = http["summary"]["images_per_s"]
    share = f"{http['share']:.2f} of the engine's rate"
    return f"Through HTTP, {http['load']}: {rate:.0f} images/s, {share}. {http['bottleneck']}"


if __name__ == "__main__":
    main()
