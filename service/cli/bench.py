"""`resnest-service bench`: measure a running service under load, or a model in this process without HTTP."""
# ruff: noqa: PLC0415

import json
import os
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import Any

import click

from service.cli import terminal
from service.cli.options import LazyChoice, LazyDefaultOption, path_option, store
from service.config.cores import SLEEPING_THREADS, usable_cores
from service.tasks import endpoints

SIZES = ("500x335", "335x500", "640x480", "1280x960")
QUIET_S = 10.0  # between two lines of progress where standard error is no terminal
MAX_PIXELS = 50_000_000  # the default limit of the service

SECONDS = click.FloatRange(0.1, 3600)


def _numbers(_context: click.Context, _option: click.Parameter, text: str | None) -> tuple[float, ...]:
    try:
        numbers = tuple(float(part) for part in text.split(",")) if text else ()
    except ValueError as error:
        raise click.BadParameter(f"{text!r} is not a list of numbers") from error
    if not all(0 < number < 1e6 for number in numbers):
        raise click.BadParameter("every number must be above 0 and below one million")
    return numbers


def _sizes(_context: click.Context, _option: click.Parameter, texts: tuple[str, ...]) -> tuple[tuple[int, int], ...]:
    return tuple(map(_size, texts))


def _size(text: str) -> tuple[int, int]:
    width, _, height = text.partition("x")
    if not (width.isdecimal() and height.isdecimal() and 0 < int(width) * int(height) <= MAX_PIXELS):
        raise click.BadParameter(f"{text!r} is not a size like 500x335 with at most {MAX_PIXELS} pixels")
    return int(width), int(height)


def _headers(_context: click.Context, _option: click.Parameter, texts: tuple[str, ...]) -> tuple[tuple[str, str], ...]:
    pairs = [text.partition(":") for text in texts]
    if not all(name.strip() and colon and (name + value).isprintable() for name, colon, value in pairs):
        raise click.BadParameter("a header has the form `Name: value`")
    return tuple((name.strip(), value.strip()) for name, _, value in pairs)


OPTIONS = (
    click.option(
        "--task",
        cls=LazyDefaultOption,
        type=LazyChoice(endpoints),
        default=lambda: next(iter(endpoints())),
        show_default=True,
    ),
    click.option("--model", help="Model to measure. Default: the default model of the task."),
    click.option("--path", help="Another path to send to, for a server that takes images as raw bodies."),
    click.option(
        "--concurrency", metavar="N[,N...]", callback=_numbers, help="Closed loop: callers that wait for each reply."
    ),
    click.option("--rate", metavar="N[,N...]", callback=_numbers, help="Open loop: requests per second."),
    click.option(
        "--arrivals",
        type=click.Choice(["poisson", "constant"]),
        default="poisson",
        show_default=True,
        help="Arrival process of an open loop.",
    ),
    click.option(
        "--sweep", "is_sweep", is_flag=True, help="A closed loop, then open loops at 20 to 110 % of its throughput."
    ),
    click.option("--duration", default=10.0, show_default=True, type=SECONDS, help="Measured seconds of each load."),
    click.option("--warm-up", default=2.0, show_default=True, type=SECONDS, help="Seconds before the measured ones."),
    click.option("--timeout", default=30.0, show_default=True, type=SECONDS, help="Seconds to wait for each reply."),
    path_option("--image-folder", "image_folder", kind="folder", exists=True, help="Folder of images to send."),
    click.option(
        "--mix",
        is_flag=True,
        help="Send 20 images of 0.2 to 12 megapixels, as from web pages and phones, made from those of --image-folder.",
    ),
    click.option(
        "--size",
        metavar="WxH",
        multiple=True,
        default=SIZES,
        show_default=True,
        callback=_sizes,
        help="Size of generated images. Repeat the option for several sizes.",
    ),
    click.option("--images", default=1, show_default=True, type=click.IntRange(1, 256), help="Images in each request."),
    click.option("--header", metavar="NAME: VALUE", multiple=True, callback=_headers, help="Header of every request."),
    click.option("--allow-p95", type=float, metavar="MS", help="Report the highest load within this 95th percentile."),
    click.option("--pid", type=int, help="Process ID of the server. Default: found by its port, on this host."),
    click.option("--seed", default=0, show_default=True, help="Seed of generated images and of Poisson arrivals."),
    path_option("--json", "json_file", kind="file", help="File for all figures, as JSON."),
    path_option("--plot", "plot_file", kind="file", help="File for an HTML page with plots."),
    click.option("--limit", metavar="MODEL", help="Measure MODEL without HTTP: full batches that processes decode."),
    store,
    click.option("--decode-processes", type=click.IntRange(1), help="Processes for --limit. Default: the cores."),
)


def _with_options(command: Callable[..., None]) -> Callable[..., None]:
    for option in reversed(OPTIONS):
        command = option(command)
    return command


@click.command()
@click.argument("url", default="http://127.0.0.1:8000")
@_with_options
def bench(
    json_file: Path | None,
    plot_file: Path | None,
    limit: str | None,
    store: Path,
    decode_processes: int | None,
    **given: Any,
) -> None:
    """Measure the service at URL under load: latency, throughput, errors, stages, CPU and memory use."""
    from service.measure.load import generator, session
    from service.measure.load.corpus import CorpusError
    from service.measure.load.trial import ProbeFailedError

    options = session.SessionOptions(**given)
    try:
        if limit:
            found = _measure_limit(options, store, limit, decode_processes or usable_cores())
        else:
            with _progress() as watch:
                trials = generator.run(session.measure(options, click.echo, watch))
            click.echo()
            terminal.show(session.tables(options, trials))
            found = session.document(options, trials)
            if plot_file:
                plot_file.write_text(session.page(options, trials), encoding="utf-8")
    except (CorpusError, ProbeFailedError, ValueError) as error:
        raise click.ClickException(str(error)) from error
    if json_file:
        json_file.write_text(json.dumps(found, indent=1) + "\n", encoding="utf-8")


def _measure_limit(options: Any, store: Path, model: str, processes: int) -> dict[str, Any]:
    os.environ |= SLEEPING_THREADS | os.environ
    from service.host.run_options import RunOptions
    from service.host.served_models.selection import select_models
    from service.measure.limit import throughput
    from service.measure.load import report, session

    (card,) = select_models(RunOptions(store, (model,)), click.echo)
    uploads = [each.content for each in options.uploads]
    found = throughput.measure(card, uploads, seconds=options.duration, warm_up_s=options.warm_up, processes=processes)
    click.echo(
        f"{found.model} without HTTP: {found.images_per_s:.1f} images/s, batches of {found.batch_size}, "
        f"{processes} decode processes"
    )
    for each in found.arrangements:
        click.echo(f"  {each}: {each.images_per_s:.1f} images/s ({each.images} images)")
    for name, times in (("decoding", found.decode_ms), ("network", found.infer_ms), ("both", found.lone_ms)):
        shown = (f"{share} {report.milliseconds(times[share])}" for share in ("p50", "p90"))
        click.echo(f"  a single image, {name}: {', '.join(shown)} ms")
    return report.document("in-process", session.corpus_document(options), [], limit=asdict(found))


@contextmanager
def _progress() -> Iterator[Callable[[Any, Any], None]]:
    """Yield what shows the progress of a load: a bar on a terminal, else a line every `QUIET_S` seconds."""
    from rich.console import Console
    from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn

    console = Console(stderr=True)
    if not console.is_terminal:
        yield _lines()
        return
    columns = (TextColumn("{task.description}"), BarColumn(), TextColumn("{task.fields[state]}"), TimeRemainingColumn())
    with Progress(*columns, console=console, transient=True) as bar:
        tasks: dict[Any, Any] = {}

        def watch(load: Any, found: Any) -> None:
            if load not in tasks:
                tasks[load] = bar.add_task(str(load), total=1, state="")
            bar.update(tasks[load], completed=found.share, state=_state(found))

        yield watch


def _lines() -> Callable[[Any, Any], None]:
    written = time.monotonic()

    def watch(load: Any, found: Any) -> None:
        nonlocal written
        if time.monotonic() - written >= QUIET_S:
            written = time.monotonic()
            click.echo(f"{load}: {found.share:.0%}, {_state(found)}", err=True)

    return watch


def _state(found: Any) -> str:
    return f"{found.done} answered, {found.per_s:.0f}/s, {found.in_flight} in flight, {found.errors} failed"
