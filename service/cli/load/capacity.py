"""`resnest-service capacity`: measure one model server, and derive the numbers of a deployment."""
# ruff: noqa: PLC0415

import json
from dataclasses import asdict
from typing import Any

import click

from service.cli.load.load_options import SHARED, with_options
from service.cli.load.load_progress import load_progress
from service.cli.options import path_option


@click.command()
@click.argument("url", default="http://127.0.0.1:8000")
@with_options(SHARED)
@click.option("--allow-p95", default=500.0, show_default=True, metavar="MS", help="Latency bound of a request.")
@click.option(
    "--max-workers", default=8, show_default=True, type=click.IntRange(1, 10_000), help="Model servers, at most."
)
@click.option("--min-gateways", default=2, show_default=True, type=click.IntRange(1, 1000), help="Gateways, at least.")
@path_option("--json", "json_file", kind="file", help="File for all figures, as JSON.")
@path_option("--kustomize", "folder", kind="folder", help="Folder for a component with the numbers, for kustomize.")
@click.option("--autoscaler", type=click.Choice(["hpa", "keda"]), default="hpa", show_default=True)
def capacity(
    allow_p95: float,
    max_workers: int,
    min_gateways: int,
    **given: Any,
) -> None:
    """Measure the service at URL, which has one model server, and derive the numbers of a deployment.

    It applies four closed loops, five open loops near the best of them, and one at 70 % of the capacity. The capacity
    is the highest load within the latency bound and without an error. Send images like those of your callers.
    """
    from service.measure import machine
    from service.measure.capacity import batch_curve, component, sizing, step_test
    from service.measure.load import generator, session
    from service.measure.load.corpus import CorpusError
    from service.measure.load.trial import ProbeFailedError

    into = {name: given.pop(name) for name in ("json_file", "folder", "autoscaler")}
    options = session.SessionOptions(**given)
    try:
        with load_progress() as watch:
            found, trials = generator.run(step_test.measure(options, allow_p95, click.echo, watch))
    except (CorpusError, ProbeFailedError, step_test.CapacityError, ValueError) as error:
        raise click.ClickException(str(error)) from error
    sized = sizing.size(found, sizing.Fleet(max_workers, min_gateways, allow_p95 / 1e3))
    curve = batch_curve.fit(trials)
    click.echo(_report(found, sized, curve))
    if json_file := into["json_file"]:
        figures = {"machine": machine.describe(), "measured": asdict(found), "sizing": asdict(sized)}
        figures["curve"] = asdict(curve) if curve else {}
        document = {**session.document(options, trials), **figures}
        json_file.write_text(json.dumps(document, indent=1) + "\n", encoding="utf-8")
    if folder := into["folder"]:
        heading = (
            f"Written by `resnest-service capacity`: {given['model'] or given['task']}, "
            f"{found.images_per_s:.1f} images/s within {allow_p95:g} ms, at most {max_workers} model servers."
        )
        component.write(folder, sized, max_workers, into["autoscaler"], heading)


def _report(found: Any, sized: Any, curve: Any) -> str:
    """Return the figures and what follows from them, one in a line."""
    gateway = f"{1e3 * found.gateway_core_s:.1f} ms" if found.gateway_core_s is not None else "not visible from here"
    batch = f"{1e3 * curve.batch_s:.1f} ms + {1e3 * curve.image_s:.2f} ms an image" if curve else "not known"
    lines = {
        "capacity of a model server": f"{found.images_per_s:.1f} images/s (the dashboard's knee)",
        "time of a batch": batch,
        "in flight at 70 % of it": f"{found.in_flight:.1f} images",
        "CPU time of a gateway for an image": gateway,
        "autoscaler: images in flight of a server": f"{sized.in_flight_target:.1f}",
        "autoscaler: offered images/s of a server": f"{sized.images_per_s_target:.1f}",
        "RESNEST_MAX_IN_FLIGHT": f"{sized.max_in_flight}",
        "most gateways": f"{sized.max_gateways or 'as before: measure on the host of the service'}",
    }
    width = max(map(len, lines))
    return "\n".join(f"{name:<{width}}  {value}" for name, value in lines.items())
