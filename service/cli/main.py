"""The command `resnest-service`. A command imports what it needs when it runs: torch alone takes a second."""
# ruff: noqa: PLC0415

import os
from pathlib import Path
from typing import Any, Literal

import click
from pydantic import ValidationError

from service import __version__
from service.cli.accuracy.calibrate import calibrate
from service.cli.accuracy.evaluate import evaluate
from service.cli.accuracy.quantise import quantise
from service.cli.bulk.bulk_command import bulk
from service.cli.doctor.doctor_command import doctor
from service.cli.doctor.settings import settings as settings_command
from service.cli.keys import keys as keys_group
from service.cli.load.bench import bench
from service.cli.load.capacity import capacity
from service.cli.models.models_command import models as models_group
from service.cli.models.models_command import pull_absent
from service.cli.options import host_name, names_option, path_option, require_command, store
from service.cli.predict.annotations.export_command import export
from service.cli.predict.failures import RunFailedError
from service.cli.predict.predict_command import command_of
from service.cli.train.train_command import train
from service.config import environment, service_links
from service.config.api_keys import KeysError, check_exposure
from service.config.environment import SettingsError
from service.config.log_settings import LogSettings
from service.config.logs import Logs
from service.config.traffic import TrafficError
from service.host import gateways, host_checks, run_folders, torchserve
from service.host import health as health_checks
from service.host.gateway_slots import GatewaySlot
from service.host.gateways import GatewayError
from service.host.processes import loading_modules, stop_signals
from service.host.run_options import RunOptions, StartError, require_free_port, require_keys
from service.host.served_models import model_archive, packaging
from service.host.served_models.reload import ReloadError
from service.host.served_models.selection import select_models
from service.host.supervisor import run as supervise
from service.models.cards import CardError
from service.tasks import endpoints
from service.worker import drain

models = names_option(
    "--models", envvar="RESNEST_MODELS", help="Models to use. Default: all models whose weights are present."
)
strict_option = click.option(
    "--strict/--no-strict",
    default=False,
    envvar="RESNEST_STRICT",
    show_default=True,
    help="Do not start if the weights of a model fail their check. Otherwise the other models are served.",
)

START_ERRORS = (CardError, GatewayError, KeysError, SettingsError, StartError, TrafficError)


class Main(click.Group):
    """The group of all commands. It reports an error that an operator can correct as one sentence, with exit code 1."""

    def invoke(self, ctx: click.Context) -> Any:
        """Run the command. Raises `click.ClickException` for an error that an operator can correct."""
        if warning := service_links.remove(os.environ):
            click.echo(f"Warning: {warning}", err=True)
        try:
            return super().invoke(ctx)
        except (*START_ERRORS, ReloadError, RunFailedError) as error:
            raise click.ClickException(str(error)) from error
        except BrokenPipeError:
            raise  # click exits silently: the reader of the output has closed it
        except OSError as error:  # a full disk, a temporary folder that cannot be written
            where = f"{error.filename}: " if error.filename else ""
            raise click.ClickException(f"{where}{error.strerror or error}") from error

    def list_commands(self, ctx: click.Context) -> list[str]:
        """Return the names of all commands, also of endpoints that were registered later."""
        return sorted({*super().list_commands(ctx), *endpoints()})

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """Return the command of that name, or of the endpoint of that name."""
        if cmd_name in self.commands or cmd_name not in endpoints():
            return super().get_command(ctx, cmd_name)
        return command_of(endpoints()[cmd_name])

    def resolve_command(self, ctx: click.Context, args: list[str]) -> Any:
        """Return name, command and the other arguments. Raises `click.UsageError` with the closest names."""
        require_command(ctx, args[0], self.list_commands(ctx))
        return super().resolve_command(ctx, args)


MEASURING = [evaluate, calibrate, quantise, bench, capacity]
MANAGING = [models_group, keys_group, settings_command, doctor]


@click.group(cls=Main, commands=[*MEASURING, *MANAGING, train, bulk, export])
@click.version_option(__version__, prog_name="resnest-service")
def main() -> None:
    """Serve image classification, segmentation and detection over HTTP, or ask a model about files."""


@main.command()
@store
@models
@click.option(
    "--host",
    default="127.0.0.1",
    envvar="RESNEST_HOST",
    show_default=True,
    callback=host_name,
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
    exists=True,
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
@names_option(
    "--cors",
    "cors_origins",
    metavar="ORIGIN[,ORIGIN...]",
    envvar="RESNEST_CORS_ORIGINS",
    help="Origins whose web pages may call, such as https://app.example, or * for all.",
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
@strict_option
@click.option("--pull/--no-pull", default=True, show_default=True, help="Download missing weights of --models.")
def run(store: Path, models: tuple[str, ...], start_timeout: float, *, pull: bool, **gateway: Any) -> None:
    """Run TorchServe and the gateway together until Ctrl-C."""
    logs = log_of("supervisor")
    prepare_host()
    options = RunOptions(store, models, start_timeout_s=start_timeout, **gateway)
    check_settings(options)
    if pull and models:
        require_keys(options)  # check both before a download that may take minutes
        require_free_port(options.host, options.port)
        pull_absent(store, models)
    supervise(options, click.echo, logs)


@main.command()
@store
@models
@path_option("--into", help="Folder for the model directories. Default: STORE/archives.")
def package(store: Path, models: tuple[str, ...], into: Path | None) -> None:
    """Write the model directories that TorchServe loads."""
    for card in select_models(RunOptions(store, models), click.echo):
        click.echo(model_archive.package(card, into or store / model_archive.ARCHIVES))


@main.command()
@store
@models
@click.option("--inference-address", default=torchserve.Addresses.inference, show_default=True)
@click.option("--management-address", default=torchserve.Addresses.management, show_default=True)
@click.option("--metrics-address", default=torchserve.Addresses.metrics, show_default=True)
@path_option("--folder", help="Folder for all written files. Default: a folder in the temporary folder.")
@strict_option
def worker(
    store: Path,
    models: tuple[str, ...],
    inference_address: str,
    management_address: str,
    metrics_address: str,
    folder: Path | None,
    *,
    strict: bool,
) -> None:
    """Package the models, then run TorchServe alone in the foreground, as a container does."""
    logs = log_of("worker")
    prepare_host()
    folder = (folder or run_folders.claim_folder(health_checks.worker_folder())).resolve()
    if folder.name != health_checks.WORKER_FOLDER:
        click.echo(f"Check this worker with: resnest-service health --worker {folder}")
    served = select_models(RunOptions(store, models), click.echo)
    packaged = packaging.package_all(served, folder / model_archive.ARCHIVES, click.echo, strict=strict)
    addresses = torchserve.Addresses(inference_address, management_address, metrics_address)
    torchserve.prepare(folder, packaged.loaded, folder / model_archive.ARCHIVES, addresses, in_json=logs.is_json)
    drain.clear(folder)
    if warning := host_checks.java(os.environ)[1]:
        click.echo(f"Warning: {warning}", err=True)
    command = drain.wrapped(torchserve.command(folder, os.environ))
    os.chdir(folder)
    form = {"RESNEST_LOG_FORMAT": "json" if logs.is_json else "text"}  # TorchServe is between a worker and a terminal
    variables = torchserve.environment(folder, packaged.loaded, {**os.environ, **form})
    os.execve(command[0], command, variables)  # noqa: S606 - no shell wanted


@main.command()
def gateway() -> None:
    """Run the HTTP gateway alone, configured by RESNEST_... environment variables."""
    prepare_host()
    settings = environment.read()
    slot = GatewaySlot.from_environment(os.environ)
    if settings.gateway_workers > 1 and slot is None:
        check_exposure(settings.host, protected=settings.authenticates_callers, waived=settings.allow_no_keys)
        require_free_port(settings.host, settings.port)
        log_of("supervisor")
        with stop_signals() as stop_signal:
            gateways.serve(settings.gateway_workers, os.environ, settings.shutdown_timeout_s, stop_signal)
        return
    with loading_modules():
        from service.gateway.server.uvicorn_server import serve
    serve(settings, slot)


@main.command()
@path_option("--worker", "folder", help="Folder of the `worker` to check.")
@click.option(
    "--require",
    type=click.Choice(["any", "all"]),
    default="all",
    show_default=True,
    help="How many models must be able to answer.",
)
def health(folder: Path | None, require: Literal["any", "all"]) -> None:
    """Exit with 0 if the `worker` or `gateway` of this container is ready, otherwise with 1."""
    try:
        unready = health_checks.unready(os.environ, folder, require)
    except ValueError as error:
        raise click.ClickException(str(error)) from error
    if unready:
        raise click.ClickException(f"not ready: {', '.join(unready)}")


def log_of(component: str) -> Logs:
    """Return the log of this process by its settings. Raise `click.ClickException` for invalid ones."""
    try:
        return Logs(component, LogSettings())
    except ValidationError as error:
        raise click.ClickException("; ".join(environment.reasons(error))) from error
    except ValueError as error:
        raise click.ClickException(f"RESNEST_LOG_FILE: {error}") from error


def prepare_host() -> None:
    """Raise the limit of open files, and warn of what is unusual.

    Raises `CardError` on another system than Linux, and `SettingsError` for a variable that is no setting.
    """
    host_checks.require_linux()
    environment.check_names(os.environ)
    if warning := host_checks.raise_descriptor_limit():
        click.echo(f"Warning: {warning}", err=True)


def check_settings(options: RunOptions) -> None:
    """Raise `SettingsError` if the gateway could not start with these options and this environment."""
    environment.read(
        model_store=options.store,
        models=options.models,
        default_models=options.default_models,
        host=options.host,
        port=options.port,
        gateway_workers=options.gateway_workers,
        allow_no_keys=options.allow_no_keys,
        **{name: value for name in ("keys_file", "traffic_file", "cors_origins") if (value := getattr(options, name))},
    )
