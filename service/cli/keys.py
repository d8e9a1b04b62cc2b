"""`resnest-service keys`: create, list and revoke API keys."""

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path
from typing import Any

import click

from service.cli.options import LazyChoice, LazyDefaultOption, path_option
from service.cli.terminal import show_table
from service.config import api_keys
from service.config.api_keys import Key, KeysError, Quota
from service.models import atomic_write, text_file
from service.models.text_file import TextError

file_option = path_option(
    "--file",
    "file",
    kind="file",
    default=Path("api-keys"),
    envvar="RESNEST_KEYS_FILE",
    help="File of API keys. It contains only hashes. A running gateway reads it again when it changes.",
)


def _caller(_context: click.Context, _argument: click.Parameter, name: str) -> str:
    """Return the name of a caller. A line with another one would be a remark, or have its words in wrong places."""
    try:
        api_keys.check_name(name)
    except ValueError as error:
        raise click.BadParameter(str(error)) from None
    return name


@click.group()
def keys() -> None:
    """Manage the API keys of callers. Only hashes of the keys are stored."""


@keys.command()
@file_option
@click.argument("name", callback=_caller)
@click.option(
    "--scope",
    "scopes",
    cls=LazyDefaultOption,
    multiple=True,
    type=LazyChoice(api_keys.scopes),
    default=lambda: api_keys.scopes()[:-1],
    show_default=True,
    help="Scope of the key. Repeat the option for several scopes.",
)
@click.option("--rate", type=click.FloatRange(api_keys.MIN_RATE, api_keys.MAX_LIMIT), help="Images per second.")
@click.option(
    "--burst", type=click.IntRange(1, api_keys.MAX_LIMIT), help="Images allowed at once, which --rate then refills."
)
@click.option("--concurrency", type=click.IntRange(1, api_keys.MAX_LIMIT), help="Requests at the same time.")
@click.option("--expires", type=click.DateTime(["%Y-%m-%d"]), help="Last day on which the key is valid, in UTC.")
def new(file: Path, name: str, scopes: tuple[str, ...], expires: datetime | None, **limits: Any) -> None:
    """Create a key for the caller NAME, print it once, and add its hash to the file.

    A caller may have several keys. To replace a key, create a new one, let the caller switch to it, then revoke the
    old one. A limit that you omit is the gateway's default.
    """
    secret = api_keys.new_secret()
    day = expires.date() if expires else None
    key = Key(name, frozenset(scopes), api_keys.digest(secret), Quota(**limits), day)
    with _locked(file):
        before = _text(file) if file.exists() else ""
        _write(file, before + "\n" * (before[-1:] not in {"", "\n"}) + key.line() + "\n")
    click.echo(secret)
    click.echo(f"Key {key.id} of {name} was added to {file}. The key is not shown again.", err=True)


@keys.command("list")
@file_option
def list_keys(file: Path) -> None:
    """List the keys in the file: caller, key ID, scopes, limits and last day.

    A limit that is not shown is the gateway's default.
    """
    show_table(("caller", "key ID", "scopes", "limits", "last day"), [_row(key) for key in _keys(_text(file), file)])


@keys.command()
@file_option
@click.argument("id")
def revoke(file: Path, id: str) -> None:  # noqa: A002 - the name of the argument
    """Remove the key ID from the file. The caller's other keys stay valid."""
    with _locked(file):
        lines = _text(file).splitlines(keepends=True)
        left = [line for line in lines if [key.id for key in _keys(line, file)] != [id]]
        if len(left) == len(lines):
            raise KeysError(f"{file} has no key {id}; `resnest-service keys list` shows the key IDs")
        _write(file, "".join(left))


def _row(key: Key) -> tuple[str, ...]:
    scopes = " ".join(scope for scope in api_keys.scopes() if scope in key.scopes)
    limits = " ".join(f"{name}={value:g}" for name, value in vars(key.quota).items() if value is not None)
    return key.name, key.id, scopes, limits, str(key.expires or "does not expire")


@contextmanager
def _locked(file: Path) -> Iterator[None]:
    """Hold the lock of the file's folder: of two commands at a time, one would write a file without the other's key."""
    folder = os.open(file.resolve().parent, os.O_RDONLY)
    try:
        fcntl.flock(folder, fcntl.LOCK_EX)
        yield
    finally:
        os.close(folder)


def _text(file: Path) -> str:
    try:
        return text_file.read(file)
    except TextError as error:
        raise KeysError.of(file, error) from None


def _keys(text: str, file: Path) -> tuple[Key, ...]:
    try:
        return api_keys.parse(text)
    except KeysError as error:
        raise KeysError.of(file, error) from None


def _write(file: Path, text: str) -> None:
    """Replace the file atomically, so that no gateway reads half of it. Raises `KeysError`.

    Only its owner may read a new file. An existing one keeps its mode: a service of another user may have to read it.
    """
    _keys(text, file)
    atomic_write.write(file.resolve(), text.encode(), mode=0o600, keep_access=True)
