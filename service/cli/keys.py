"""`resnest-service keys`: the file of API keys."""

from datetime import datetime
from pathlib import Path
from typing import Any

import click

from service.config import api_keys as book
from service.config.api_keys import Key, KeysError, Quota
from service.models import files

file_option = click.option(
    "--file",
    "file",
    type=click.Path(dir_okay=False, path_type=Path),
    default=Path("api-keys"),
    envvar="RESNEST_KEYS_FILE",
    show_default=True,
    help="The file of keys. It holds hashes alone; a gateway reads it again when it changes.",
)


@click.group()
def keys() -> None:
    """Who may call: keys for callers, of which only hashes are kept."""


@keys.command()
@file_option
@click.argument("name")
@click.option(
    "--scope", "scopes", multiple=True, type=click.Choice(book.SCOPES), default=("classify", "segment"),
    show_default=True, help="What the key opens; give it again for more.",
)  # fmt: skip
@click.option("--rate", type=click.FloatRange(book.MIN_RATE, book.MAX_LIMIT), help="Pictures a second.")
@click.option(
    "--burst", type=click.IntRange(1, book.MAX_LIMIT), help="Pictures at once, of which that rate gives back."
)
@click.option("--concurrency", type=click.IntRange(1, book.MAX_LIMIT), help="Requests at one time.")
@click.option("--expires", type=click.DateTime(["%Y-%m-%d"]), help="Its last day, UTC.")
def new(file: Path, name: str, scopes: tuple[book.Scope, ...], expires: datetime | None, **limits: Any) -> None:
    """Make a key for the caller NAME, print it once, and add its hash to the file.

    A caller may have several: make a new one, let the caller move to it, then revoke the old one. The limits that are
    left out are the gateway's.
    """
    secret = book.new_secret()
    day = expires.date() if expires else None
    key = Key(name, frozenset(scopes), book.digest(secret), Quota(**limits), day)
    before = _text(file) if file.exists() else ""
    _write(file, before + "\n" * (before[-1:] not in {"", "\n"}) + key.line() + "\n")
    click.echo(secret)
    click.echo(f"Key {key.id} of {name} is in {file}. It is shown only this once.", err=True)


@keys.command("list")
@file_option
def list_keys(file: Path) -> None:
    """Every key in the file: whose it is, its id, what it opens and its last day."""
    for key in _keys(_text(file), file):
        scopes = " ".join(scope for scope in book.SCOPES if scope in key.scopes)
        click.echo(f"{key.name}  {key.id}  {scopes}  {key.expires or 'does not expire'}")


@keys.command()
@file_option
@click.argument("id")
def revoke(file: Path, id: str) -> None:  # noqa: A002 - as the argument is called
    """Take the key of that ID out of the file; the caller's other keys stay."""
    lines = _text(file).splitlines(keepends=True)
    left = [line for line in lines if [key.id for key in _keys(line, file)] != [id]]
    if len(left) == len(lines):
        raise KeysError(f"{file} has no key {id}; `resnest-service keys list` shows their ids")
    _write(file, "".join(left))


def _text(file: Path) -> str:
    return file.read_text(encoding="utf-8")


def _keys(text: str, file: Path) -> tuple[Key, ...]:
    try:
        return book.parse(text)
    except KeysError as error:
        raise KeysError.of(file, error) from None


def _write(file: Path, text: str) -> None:
    """Put the file in place in one step, so that no gateway reads half of it. Raises `KeysError`.

    Everybody may read it: a container's user must, and a hash of 256 random bits opens nothing.
    """
    _keys(text, file)
    files.write(file.resolve(), text.encode(), mode=0o644)
