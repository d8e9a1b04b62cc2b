"""`python -m tests.null_model.service`: the service with the null model in place of each network.

RESNEST_MODEL_STORE and RESNEST_PORT say which models it serves, and where. RESNEST_GATEWAY_WORKERS is the number of
gateway processes, and NULL_MODEL_HANDLER another handler.
"""

import json
import os
import time
from pathlib import Path

import click

from service.host import supervisor
from service.host.processes import stop_signals
from service.host.run_folders import short_folder
from service.host.run_options import RunOptions
from service.host.served_models import model_archive
from service.host.served_models.packaging import Packaged
from service.host.served_models.selection import select_models
from service.models.cards import ModelCard

HANDLER = "tests.null_model.handler"
ROOT = Path(__file__).parents[2]  # the workers import the handler from here


def serve(options: RunOptions, handler: str = HANDLER) -> None:
    """Serve until SIGTERM."""
    started = time.monotonic()
    models = select_models(options, click.echo)
    for card in models:
        package_with(handler, card, options.store / model_archive.ARCHIVES)
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    with stop_signals() as stop_signal, short_folder("/tmp") as folder:  # noqa: S108 - a new folder
        packaged = Packaged(options.store / model_archive.ARCHIVES, models)
        tree = supervisor.ProcessTree(options, packaged, folder, stop_signal, click.echo, environment)
        try:
            tree.start()
            if tree.wait_until_ready():
                click.echo(f"READY after {time.monotonic() - started:.1f} s: {options.address}")
                tree.watch()
        finally:
            tree.stop()


def package_with(handler: str, card: ModelCard, archives: Path) -> None:
    """Package a model for TorchServe with this module as its handler."""
    path = model_archive.package(card, archives) / "MAR-INF" / "MANIFEST.json"
    manifest = json.loads(path.read_text(encoding="utf-8"))
    manifest["model"]["handler"] = handler
    path.write_text(json.dumps(manifest), encoding="utf-8")


if __name__ == "__main__":
    serve(
        RunOptions(
            Path(os.environ["RESNEST_MODEL_STORE"]),
            port=int(os.environ["RESNEST_PORT"]),
            gateway_workers=int(os.environ.get("RESNEST_GATEWAY_WORKERS", "1")),
        ),
        os.environ.get("NULL_MODEL_HANDLER", HANDLER),
    )
