"""`resnest-service models fetch`: install models from archives on a web server of one's own."""

from pathlib import Path

import click

from service.cli import terminal
from service.cli.models import store_archives
from service.cli.options import path_option, store


@click.command()
@store
@click.option(
    "--from",
    "address",
    required=True,
    metavar="URL",
    help="URL of the folder that has the archives; http or https.",
)
@path_option(
    "--checksums",
    "listed",
    kind="file",
    exists=True,
    required=True,
    help="List of the archives, as `sha256sum *.tar` writes it.",
)
def fetch(store: Path, address: str, listed: Path) -> None:
    """Install the models of the tar archives that a list names.

    An archive has folders of a model store: models with card, labels and weights, and `labels`. Each is compared with
    the SHA-256 of the list before anything of it is read, and each weight file with its card. An archive that is
    installed is not downloaded again. HTTP_PROXY, HTTPS_PROXY and NO_PROXY are used.
    """
    if not address.startswith(("http://", "https://")):
        raise click.BadParameter(f"{address} does not begin with http:// or https://", param_hint="--from")
    archives = store_archives.read_list(listed)
    store.mkdir(parents=True, exist_ok=True)
    for archive in archives:
        with terminal.download(archive.name) as progress:
            names = store_archives.fetch(store, address, archive, progress)
        click.echo(f"{archive.name}: {', '.join(names) if names else 'is here already'}")
