"""The command `resnest-service`. A command imports what it needs when it runs: torch alone takes a second."""
# ruff: noqa: PLC0415

import os
import tempfile
from pathlib import Path
from typing import Any

import click
from pydantic import ValidationError

from service import __version__
from service.cli.bench import bench
from service.cli.evaluate import evaluate
from service.cli.keys import keys as keys_group
from service.cli.models import models as models_group
from service.cli.models import pull_absent
from service.cli.options import names_option, path_option, store
from service.cli.quantise import quantise
from service.config.api_keys import KeysError, check_exposure
from service.config.traffic import TrafficError
from service.host import gateways, torchserve
from service.host.gateway_slots import GatewaySlot
from service.host.gateways import GatewayError
from service.host.processes import stop_signals
from service.host.supervisor import RunOptions, StartError, require_free_port, require_keys, select_models
from service.host.supervisor import run as supervise
from service.models.cards import CardError

WORKER_FOLDER = "resnest-worker"  # in the temporary folder: `worker` writes there what `health` reads

models = names_option(
    "--models", envvar="RESNEST_MODELS", help="Models to use. Default: all models whose weights are present."
)


class Main(click.Group):
    """The group of all commands. It reports an error that an operator can correct as one sentence, with exit code 1."""

    def invoke(self, ctx: click.Context) -> Any:
        """Run the command. Raises `click.ClickException` for an error that an operator can correct."""
        try:
            return super().invoke(ctx)
        except (CardError, GatewayError, KeysError, StartError, TrafficError) as error:
            raise click.ClickException(str(error)) from error
        except BrokenPipeError:
            raise  # click exits silently: the reader of the output has closed it
        except OSError as error:  # a full disk, a temporary folder that cannot be written
            where = f"{error.filename}: " if error.filename else ""
            raise click.ClickException(f"{where}{error.strerror or error}") from error


@click.group(cls=Main, commands=[models_group, keys_group, evaluate, bench, quantise])
@click.version_option(__version__, prog_name="resnest-service")
def main() -> None:
    """Serve image classification and segmentation over HTTP."""


@main.command()
@store
@models
@click.option(
    "--host",
    default="127.0.0.1",
    envvar="RESNEST_HOST",
    show_default=True,
    callback=lambda _context, _option, name: _host(name),
    help="Address to listen on.",
)
@click.option(
    "--port",
    default=8000,
    envvar="RESNEST_PORT",
    show_default=True,
    type=click.IntRange(1, 65535),
    help="Port to listen on.",
)
@path_option(
    "--keys-file",
    kind="file",
    envvar="RESNEST_KEYS_FILE",
    help="File of API keys, which `resnest-service keys new` creates. Callers are not authenticated without this file, "
    "RESNEST_KEYS and RESNEST_JWT_KEYS.",
)
@click.option(
    "--allow-no-keys",
    is_flag=True,
    envvar="RESNEST_ALLOW_NO_KEYS",
    help="Accept requests from other hosts without API keys.",
)
@path_option(
    "--traffic-file",
    kind="file",
    envvar="RESNEST_TRAFFIC_FILE",
    help="File with the traffic shares of model versions. It is read again when it changes.",
)
@names_option(
    "--default",
    "default_models",
    envvar="RESNEST_DEFAULT_MODELS",
    help="Default model of its task, for requests that name no model. At most one for each task.",
)
@click.option(
    "--gateway-workers",
    default=1,
    envvar="RESNEST_GATEWAY_WORKERS",
    show_default=True,
    type=click.IntRange(1, 64),
    help="Gateway processes that share the port. Use more than one if the gateway needs more than one core.",
)
@click.option(
    "--start-timeout", default=180.0, show_default=True, help="Seconds within which all models must become ready."
)
@click.option("--pull/--no-pull", default=True, show_default=True, help="Download missing weights of --models.")
def run(store: Path, models: tuple[str, ...], start_timeout: float, *, pull: bool, **gateway: Any) -> None:
    """Run TorchServe and the gateway together until Ctrl-C."""
    options = RunOptions(store, models, start_timeout_s=start_timeout, **gateway)
    if pull and models:
        require_keys(options)  # check both before a download that may take minutes
        require_free_port(options.host, options.port)
        pull_absent(store, models)
    supervise(options, click.echo)


@main.command()
@store
@models
@path_option("--into", help="Folder for the model directories. Default: STORE/archives.")
def package(store: Path, models: tuple[str, ...], into: Path | None) -> None:
    """Write the model directories that TorchServe loads."""
    for card in select_models(RunOptions(store, models), click.echo):
        click.echo(torchserve.package(card, into or store / torchserve.ARCHIVES))


@main.command()
@store
@models
@click.option("--inference-address", default=torchserve.Addresses.inference, show_default=True)
@click.option("--management-address", default=torchserve.Addresses.management, show_default=True)
@click.option("--metrics-address", default=torchserve.Addresses.metrics, show_default=True)
@path_option("--folder", help="Folder for all written files. Default: a folder in the temporary folder.")
def worker(
    store: Path,
    models: tuple[str, ...],
    inference_address: str,
    management_address: str,
    metrics_address: str,
    folder: Path | None,
) -> None:
    """Package the models, then run TorchServe alone in the foreground, as a container does."""
    folder = (folder or _worker_folder()).resolve()
    served = select_models(RunOptions(store, models), click.echo)
    for card in served:
        torchserve.package(card, folder / torchserve.ARCHIVES)
    addresses = torchserve.Addresses(inference_address, management_address, metrics_address)
    torchserve.prepare(folder, served, folder / torchserve.ARCHIVES, addresses)
    command = torchserve.command(folder, os.environ)
    os.chdir(folder)
    os.execve(command[0], command, torchserve.environment(folder, served, os.environ))  # noqa: S606 - no shell wanted


@main.command()
def gateway() -> None:
    """Run the HTTP gateway alone, configured by RESNEST_... environment variables."""
    from service.config.settings import Settings

    try:
        settings = Settings()
    except ValidationError as error:
        messages = (f"RESNEST_{'.'.join(map(str, each['loc'])).upper()}: {each['msg']}" for each in error.errors())
        raise click.ClickException("; ".join(messages)) from error
    slot = GatewaySlot.from_environment(os.environ)
    if settings.gateway_workers > 1 and slot is None:
        check_exposure(settings.host, protected=settings.authenticates_callers, waived=settings.allow_no_keys)
        require_free_port(settings.host, settings.port)
        with stop_signals() as stop_signal:
            gateways.serve(settings.gateway_workers, os.environ, settings.shutdown_timeout_s, stop_signal, click.echo)
        return
    from service.gateway.server.uvicorn_server import serve

    serve(settings, slot)


@main.command()
@path_option("--worker", "folder", help="Folder of the `worker` to check.")
def health(folder: Path | None) -> None:
    """Exit with 0 if the `worker` or `gateway` of this container is ready, otherwise with 1."""
    from service.host import health as health_checks

    folder = folder or _worker_folder()
    if folder.is_dir():
        management, names = torchserve.read_configuration(folder)
        unready = health_checks.unready_models(management, names)
    else:
        options = RunOptions(Path(), host=os.environ.get("RESNEST_HOST", "127.0.0.1"), port=_port())
        unready = [] if health_checks.gateway_is_ready(options.address) else [options.address]
    if unready:
        raise click.ClickException(f"not ready: {', '.join(unready)}")


def _host(name: str) -> str:
    try:
        name.encode("idna")  # `getaddrinfo` does the same
    except UnicodeError as error:
        raise click.BadParameter("it is not a host name or an address") from error
    return name


def _worker_folder() -> Path:
    return Path(tempfile.gettempdir()) / WORKER_FOLDER


def _port() -> int:
    port = os.environ.get("RESNEST_PORT", "8000")
    if not (port.isascii() and port.isdecimal() and int(port) < 1 << 16):
        raise click.ClickException("RESNEST_PORT is not a port number")
    return int(port)
