"""The command `resnest-service`. What a command needs is imported when it runs: torch alone takes a second."""
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
from service.cli.options import store
from service.cli.quantise import quantise
from service.config.api_keys import KeysError, check_exposure
from service.config.traffic import TrafficError
from service.host import gateways, torchserve
from service.host.gateway_slots import GatewaySlot
from service.host.gateways import GatewayError
from service.host.signals import signals
from service.host.supervisor import RunOptions, StartError, chosen, require_free_port, require_keys
from service.host.supervisor import run as supervise
from service.models.cards import CardError

WORKER_FOLDER = "resnest-worker"  # in the temporary folder: where `worker` leaves what `health` reads


def _split(names: tuple[str, ...]) -> tuple[str, ...]:
    return tuple(name.strip() for part in names for name in part.split(",") if name.strip())


models = click.option(
    "--models",
    multiple=True,
    metavar="NAME[,NAME...]",
    envvar="RESNEST_MODELS",
    callback=lambda _context, _option, names: _split(names),
    help="Only these models; all that have their weights when left out.",
)


class Main(click.Group):
    """Says what an operator can mend in one sentence, with exit code 1, and no traceback."""

    def invoke(self, ctx: click.Context) -> Any:
        """Run the command."""
        try:
            return super().invoke(ctx)
        except (CardError, GatewayError, KeysError, StartError, TrafficError) as error:
            raise click.ClickException(str(error)) from error
        except BrokenPipeError:
            raise  # click ends quietly: the reader of our output has gone
        except OSError as error:  # a full disk, a temporary folder that cannot be written
            where = f"{error.filename}: " if error.filename else ""
            raise click.ClickException(f"{where}{error.strerror or error}") from error


@click.group(cls=Main, commands=[models_group, keys_group, evaluate, bench, quantise])
@click.version_option(__version__, prog_name="resnest-service")
def main() -> None:
    """Image classification and segmentation over HTTP."""


@main.command()
@store
@models
@click.option(
    "--host",
    default="127.0.0.1",
    envvar="RESNEST_HOST",
    show_default=True,
    callback=lambda _context, _option, name: _host(name),
    help="The address to listen on.",
)
@click.option("--port", default=8000, envvar="RESNEST_PORT", show_default=True, type=click.IntRange(1, 65535))
@click.option(
    "--keys-file",
    type=click.Path(dir_okay=False, path_type=Path),
    envvar="RESNEST_KEYS_FILE",
    help="The file of API keys; `resnest-service keys new` makes one. Without it, RESNEST_KEYS and RESNEST_JWT_KEYS "
    "nobody is asked.",
)
@click.option(
    "--allow-no-keys", is_flag=True, envvar="RESNEST_ALLOW_NO_KEYS", help="Serve beyond this machine without keys."
)
@click.option(
    "--traffic-file",
    type=click.Path(dir_okay=False, path_type=Path),
    envvar="RESNEST_TRAFFIC_FILE",
    help="Shares of each model's versions in its traffic; read again when it changes.",
)
@click.option(
    "--default",
    "default_models",
    multiple=True,
    metavar="NAME[,NAME...]",
    envvar="RESNEST_DEFAULT_MODELS",
    callback=lambda _context, _option, names: _split(names),
    help="The model of its task that answers where none is named; one for each task.",
)
@click.option(
    "--gateway-workers",
    default=1,
    envvar="RESNEST_GATEWAY_WORKERS",
    show_default=True,
    type=click.IntRange(1, 64),
    help="Gateway processes that share the port: more than one where one core of the gateway is not enough.",
)
@click.option("--start-timeout", default=180.0, show_default=True, help="Seconds until every model must be ready.")
@click.option("--pull/--no-pull", default=True, show_default=True, help="Fetch weights of --models that are not here.")
def run(store: Path, models: tuple[str, ...], start_timeout: float, *, pull: bool, **gateway: Any) -> None:
    """Serve: TorchServe and the gateway together, until Ctrl-C."""
    options = RunOptions(store, models, start_timeout_s=start_timeout, **gateway)
    if pull and models:
        require_keys(options)  # both before a download that may take minutes
        require_free_port(options.host, options.port)
        pull_absent(store, models)
    supervise(options, click.echo)


@main.command()
@store
@models
@click.option("--into", type=click.Path(path_type=Path), help="The archives' folder; STORE/archives when left out.")
def package(store: Path, models: tuple[str, ...], into: Path | None) -> None:
    """Write TorchServe's model directories."""
    for card in chosen(RunOptions(store, models), click.echo):
        click.echo(torchserve.package(card, into or store / torchserve.ARCHIVES))


@main.command()
@store
@models
@click.option("--inference-address", default=torchserve.Addresses.inference, show_default=True)
@click.option("--management-address", default=torchserve.Addresses.management, show_default=True)
@click.option("--metrics-address", default=torchserve.Addresses.metrics, show_default=True)
@click.option("--folder", type=click.Path(path_type=Path), help="For all that is written; in the temporary folder.")
def worker(
    store: Path,
    models: tuple[str, ...],
    inference_address: str,
    management_address: str,
    metrics_address: str,
    folder: Path | None,
) -> None:
    """Package the models, then become TorchServe alone, in the foreground: what a container runs."""
    folder = (folder or _worker_folder()).resolve()
    served = chosen(RunOptions(store, models), click.echo)
    for card in served:
        torchserve.package(card, folder / torchserve.ARCHIVES)
    addresses = torchserve.Addresses(inference_address, management_address, metrics_address)
    torchserve.prepare(folder, served, folder / torchserve.ARCHIVES, addresses)
    command = torchserve.command(folder, os.environ)
    os.chdir(folder)
    os.execve(command[0], command, torchserve.environment(folder, served, os.environ))  # noqa: S606 - no shell wanted


@main.command()
def gateway() -> None:
    """The HTTP gateway alone, by the settings in RESNEST_... variables."""
    from service.config.settings import Settings

    try:
        settings = Settings()
    except ValidationError as error:
        mistakes = (f"RESNEST_{'.'.join(map(str, each['loc'])).upper()}: {each['msg']}" for each in error.errors())
        raise click.ClickException("; ".join(mistakes)) from error
    seat = GatewaySlot.taken(os.environ)
    if settings.gateway_workers > 1 and seat is None:
        check_exposure(settings.host, protected=settings.asks_callers, waived=settings.allow_no_keys)
        require_free_port(settings.host, settings.port)
        with signals() as asked:
            gateways.serve(settings.gateway_workers, os.environ, settings.time_to_end_s, asked, click.echo)
        return
    from service.gateway.server.uvicorn_server import serve

    serve(settings, seat)


@main.command()
@click.option("--worker", "folder", type=click.Path(path_type=Path), help="The folder of a `worker` to ask.")
def health(folder: Path | None) -> None:
    """Exit 0 where the `worker` or `gateway` of this container can answer, 1 where not."""
    from service.host import health as doors

    folder = folder or _worker_folder()
    if folder.is_dir():
        management, names = torchserve.doors(folder)
        waiting = doors.waiting_models(management, names)
    else:
        options = RunOptions(Path(), host=os.environ.get("RESNEST_HOST", "127.0.0.1"), port=_port())
        waiting = [] if doors.gateway_is_ready(options.address) else [options.address]
    if waiting:
        raise click.ClickException(f"not ready: {', '.join(waiting)}")


def _host(name: str) -> str:
    try:
        name.encode("idna")  # as `getaddrinfo` will
    except UnicodeError as error:
        raise click.BadParameter("it is no host's name or address") from error
    return name


def _worker_folder() -> Path:
    return Path(tempfile.gettempdir()) / WORKER_FOLDER


def _port() -> int:
    port = os.environ.get("RESNEST_PORT", "8000")
    if not (port.isascii() and port.isdecimal() and int(port) < 1 << 16):
        raise click.ClickException("RESNEST_PORT is no port")
    return int(port)
