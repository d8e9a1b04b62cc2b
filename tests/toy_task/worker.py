"""`python -m tests.toy_task.worker …`: TorchServe with models of the toy task, as `resnest-service worker` runs it."""

import os
from pathlib import Path

import click

from service.cli.options import path_option, store
from service.host import torchserve
from service.host.run_options import RunOptions
from service.host.served_models import model_archive
from service.host.served_models.selection import select_models
from tests.null_model.service import package_with
from tests.toy_task.task import registered

HANDLER = "tests.toy_task.handler"


@click.command()
@store
@click.option("--models", multiple=True, required=True, help="Models to use.")
@click.option("--inference-address", required=True)
@click.option("--management-address", required=True)
@click.option("--metrics-address", required=True)
@path_option("--folder", required=True, help="Folder for all written files.")
def worker(
    store: Path,
    models: tuple[str, ...],
    inference_address: str,
    management_address: str,
    metrics_address: str,
    folder: Path,
) -> None:
    """Package the models with the handler that registers the toy task, then run TorchServe in this process."""
    folder = folder.resolve()
    archives = folder / model_archive.ARCHIVES
    with registered():
        served = select_models(RunOptions(store, models), click.echo)
        for card in served:
            package_with(HANDLER, card, archives)
        addresses = torchserve.Addresses(inference_address, management_address, metrics_address)
        torchserve.prepare(folder, served, archives, addresses)
        environment = torchserve.environment(folder, served, os.environ)
    command = torchserve.command(folder, os.environ)
    os.chdir(folder)
    os.execve(command[0], command, environment)  # noqa: S606 - no shell wanted


if __name__ == "__main__":
    worker()
