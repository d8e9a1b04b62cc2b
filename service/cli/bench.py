"""`resnest-service bench`: put load on a service that runs, or find a model's limit without one."""
# ruff: noqa: PLC0415

import json
import os
import sys
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import Any

import click

from service.cli.options import store
from service.config.cores import SLEEPING_THREADS, usable_cores

SIZES = ("500x335", "335x500", "640x480", "1280x960")
MOST_PIXELS = 50_000_000  # what a service takes unless told otherwise

SECONDS = click.FloatRange(0.1, 3600)
file = click.Path(dir_okay=False, path_type=Path)
folder = click.Path(file_okay=False, exists=True, path_type=Path)


def _numbers(_context: click.Context, _option: click.Parameter, text: str | None) -> tuple[float, ...]:
    try:
        numbers = tuple(float(part) for part in text.split(",")) if text else ()
    except ValueError as error:
        raise click.BadParameter(f"{text!r} is no list of numbers") from error
    if not all(0 < number < 1e6 for number in numbers):
        raise click.BadParameter("every number must be above 0 and below a million")
    return numbers


def _sizes(_context: click.Context, _option: click.Parameter, texts: tuple[str, ...]) -> tuple[tuple[int, int], ...]:
    return tuple(map(_size, texts))


def _size(text: str) -> tuple[int, int]:
    width, _, height = text.partition("x")
    if not (width.isdecimal() and height.isdecimal() and 0 < int(width) * int(height) <= MOST_PIXELS):
        raise click.BadParameter(f"{text!r} is no size like 500x335 with at most {MOST_PIXELS} pixels")
    return int(width), int(height)


def _headers(_context: click.Context, _option: click.Parameter, texts: tuple[str, ...]) -> tuple[tuple[str, str], ...]:
    pairs = [text.partition(":") for text in texts]
    if not all(name.strip() and colon and (name + value).isprintable() for name, colon, value in pairs):
        raise click.BadParameter("a header is `Name: value`")
    return tuple((name.strip(), value.strip()) for name, _, value in pairs)


OPTIONS = (
    click.option("--task", type=click.Choice(["classify", "segment"]), default="classify", show_default=True),
    click.option("--model", help="The model to ask; the task's own when left out."),
    click.option("--path", help="Another path to send to, of a server that takes pictures as raw bodies."),
    click.option(
        "--concurrency", metavar="N[,N...]", callback=_numbers, help="Closed loop: callers who wait for their answers."
    ),
    click.option("--rate", metavar="N[,N...]", callback=_numbers, help="Open loop: requests a second, whatever comes."),
    click.option("--arrivals", type=click.Choice(["poisson", "constant"]), default="poisson", show_default=True),
    click.option("--sweep", "is_sweep", is_flag=True, help="A closed loop, then open ones at 20 to 110 % of its rate."),
    click.option("--duration", default=10.0, show_default=True, type=SECONDS, help="Seconds of each load that count."),
    click.option("--warm-up", default=2.0, show_default=True, type=SECONDS, help="Seconds of each load before those."),
    click.option(
        "--timeout", default=30.0, show_default=True, type=SECONDS, help="Seconds after which an answer is given up."
    ),
    click.option("--pictures", type=folder, help="A folder of pictures to send."),
    click.option(
        "--size", metavar="WxH", multiple=True, default=SIZES, show_default=True, callback=_sizes, help="To make here."
    ),
    click.option("--images", default=1, show_default=True, type=click.IntRange(1, 256), help="Pictures in a request."),
    click.option("--header", metavar="NAME: VALUE", multiple=True, callback=_headers, help="For every request."),
    click.option("--allow-p95", type=float, metavar="MS", help="Name the highest load within this 95th percentile."),
    click.option("--pid", type=int, help="The server's process; found by itself on this host."),
    click.option("--seed", default=0, show_default=True, help="Of made pictures and of Poisson arrivals."),
    click.option("--json", "json_file", type=file, help="Write all figures there."),
    click.option("--plot", "plot_file", type=file, help="Write a page with plots there."),
    click.option("--limit", metavar="MODEL", help="No HTTP: what MODEL gives in this process, decoding beside it."),
    store,
    click.option("--threads", type=click.IntRange(1), help="That decode, for --limit; the cores when left out."),
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
    threads: int | None,
    **given: Any,
) -> None:
    """Measure the service at URL under load: latency, throughput, errors, stages, and what its processes take."""
    from service.measure.load import generator as load
    from service.measure.load import session
    from service.measure.load.corpus import CorpusError
    from service.measure.load.trial import RefusedError

    options = session.SessionOptions(**given)
    try:
        if limit:
            found = _limit(options, store, limit, threads or usable_cores())
        else:
            trials = load.run(session.measure(options, click.echo, _watch))
            click.echo(f"\n{session.text(options, trials)}")
            found = session.document(options, trials)
            if plot_file:
                plot_file.write_text(session.page(options, trials), encoding="utf-8")
    except (CorpusError, RefusedError, ValueError) as error:
        raise click.ClickException(str(error)) from error
    if json_file:
        json_file.write_text(json.dumps(found, indent=1) + "\n", encoding="utf-8")


def _limit(options: Any, store: Path, model: str, threads: int) -> dict[str, Any]:
    os.environ |= SLEEPING_THREADS | os.environ
    from service.host.supervisor import RunOptions, chosen
    from service.measure.load import limit, report, session
    from service.measure.pipeline import Pipeline

    (card,) = chosen(RunOptions(store, (model,)), click.echo)
    uploads = [each.content for each in options.corpus()]
    found = limit.measure(
        Pipeline.load(card), uploads, seconds=options.duration, warm_up_s=options.warm_up, threads=threads
    )
    click.echo(
        f"{found.model} in this process: {found.pictures_per_s:.1f} pictures a second, {found.pictures} counted; "
        f"batches of {found.batch_size}, {threads} threads decode"
    )
    for name, times in (("decoding", found.decode_ms), ("network", found.infer_ms), ("both", found.lone_ms)):
        shown = (f"{share} {report.milliseconds(times[share])}" for share in ("p50", "p90"))
        click.echo(f"  a lone picture, {name}: {', '.join(shown)} ms")
    return report.document("in-process", session.described(options), [], limit=asdict(found))


def _watch(load: Any, now: Any) -> None:
    """Write a line over itself on a terminal, and nothing elsewhere."""
    if sys.stderr.isatty():
        line = f"{load}: {now.share:4.0%}, {now.done} answered, {now.per_s:.0f}/s, {now.in_flight} under way"
        click.echo("\r\x1b[K" + ("" if now.share == 1 else f"{line}, {now.errors} failed"), nl=False, err=True)
