"""`resnest-service models fetch`: install models from archives on a web server of one's own."""

import ipaddress
import re
from dataclasses import replace
from pathlib import Path
from urllib.parse import urlsplit

import click

from service.cli import terminal
from service.cli.models import store_archives
from service.cli.options import path_option, store

TOKEN = "RESNEST_MODELS_TOKEN"  # noqa: S105 - the name of a variable


def _address(_context: click.Context, _option: click.Parameter, address: str) -> str:
    """Return the URL of a folder. Raises `click.BadParameter`, which never repeats a password."""
    authority = re.split("[/?#]", address.partition("://")[2] or address, maxsplit=1)[0]
    if "@" in authority:
        raise click.BadParameter(f"it has a user or a password, which would be logged; put a token into {TOKEN}")
    if not address.startswith(("http://", "https://")):
        raise click.BadParameter(f"{address} does not begin with http:// or https://")
    if not address.isascii() or "?" in address or "#" in address:
        raise click.BadParameter("it is not the URL of a folder: only ASCII, without `?` and `#`")
    return address


def _token(context: click.Context, _option: click.Parameter, token: str | None) -> str | None:
    """Return the token without white space around it. Raises `click.BadParameter`, which never repeats it."""
    if token is None:
        return None
    if not re.fullmatch("[!-~]+", token.strip()):
        raise click.BadParameter("it is not one word of ASCII letters, digits and signs")
    if not _is_private(context.params["address"]):
        raise click.BadParameter("it would be sent without encryption; use https, or no token")
    return token.strip()


def _is_private(address: str) -> bool:
    """Return whether what is sent to a URL is encrypted, or stays on this host."""
    parts = urlsplit(address)
    try:
        return parts.scheme == "https" or ipaddress.ip_address(parts.hostname or "").is_loopback
    except ValueError:
        return parts.hostname == "localhost"


@click.command()
@store
@click.option(
    "--from",
    "address",
    required=True,
    metavar="URL",
    is_eager=True,
    callback=_address,
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
@click.option(
    "--token",
    envvar=TOKEN,
    callback=_token,
    help="Token that the server wants (`Authorization: Bearer`). In the environment it is not visible in the list of "
    "processes.",
)
def fetch(store: Path, address: str, listed: Path, token: str | None) -> None:
    """Install the models of the tar archives that a list names.

    An archive has folders of a model store: models with card, labels and weights, and `labels`. Each is compared with
    the SHA-256 of the list before anything of it is read, and each weight file with its card. An archive that is
    installed is not downloaded again. HTTP_PROXY, HTTPS_PROXY and NO_PROXY are used. A token is never sent to another
    server to which the first one redirects.
    """
    archives = store_archives.read_list(listed)
    store.mkdir(parents=True, exist_ok=True)
    rules = replace(store_archives.RULES, token=token)
    for archive in archives:
        with terminal.download(archive.name) as progress:
            names = store_archives.fetch(store, address, archive, progress, rules)
        click.echo(f"{archive.name}: {', '.join(names) if names else 'is here already'}")
