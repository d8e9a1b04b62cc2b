"""`resnest-service bench`: measure a running service under load, or a model in this process without HTTP."""
# ruff: noqa: PLC0415

import json
import os
from dataclasses import asdict
from pathlib import Path
from typing import Any

import click

from service.cli import terminal
from service.cli.load.load_options import SECONDS, SHARED, numbers, with_options
from service.cli.load.load_progress import load_progress
from service.cli.options import path_option, store
from service.config.cores import SLEEPING_THREADS, usable_cores

OPTIONS = (
    click.option("--path", help="Another path to send to, for a server that takes images as raw bodies."),
    click.option(
        "--concurrency", metavar="N[,N...]", callback=numbers, help="Closed loop: callers that wait for each reply."
    ),
    click.option("--rate", metavar="N[,N...]", callback=numbers, help="Open loop: requests per second."),
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
    click.option("--timeout", default=30.0, show_default=True, type=SECONDS, help="Seconds to wait for each reply."),
    click.option(
        "--mix",
        is_flag=True,
        help="Send 20 images of 0.2 to 12 megapixels, as from web pages and phones, made from those of --image-folder.",
    ),
    click.option("--images", default=1, show_default=True, type=click.IntRange(1, 256), help="Images in each request."),
    click.option("--allow-p95", type=float, metavar="MS", help="Report the highest load within this 95th percentile."),
    click.option("--pid", type=int, help="Process ID of the server. Default: found by its port, on this host."),
    click.option("--seed", default=0, show_default=True, help="Seed of generated images and of Poisson arrivals."),
    path_option("--json", "json_file", kind="file", help="File for all figures, as JSON."),
    path_option("--plot", "plot_file", kind="file", help="File for an HTML page with plots."),
    click.option("--limit", metavar="MODEL", help="Measure MODEL without HTTP: full batches that processes decode."),
    store,
    click.option("--decode-processes", type=click.IntRange(1), help="Processes for --limit. Default: the cores."),
)


@click.command()
@click.argument("url", default="http://127.0.0.1:8000")
@with_options((*SHARED, *OPTIONS))
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
            with load_progress() as watch:
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
