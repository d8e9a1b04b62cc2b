"""Click options that several commands share, and the check of a command's name."""

import re
from collections.abc import Callable, Iterable, Sequence
from difflib import get_close_matches
from pathlib import Path
from typing import Any, Literal, TypeVar
from urllib.parse import urlsplit

import click

from service.models.default_store import default_store

Decorated = TypeVar("Decorated", bound=Callable[..., Any] | click.Command)


class LazyChoice(click.Choice[str]):
    """A choice among the names that a function returns. It is called when the names are needed, not at import.

    So tasks that are registered later are included, and a command imports only what it needs.
    """

    def __init__(self, names: Callable[[], Iterable[str]]) -> None:
        self._names = names
        super().__init__(())

    @property
    def choices(self) -> tuple[str, ...]:
        """The names."""
        return tuple(self._names())

    @choices.setter
    def choices(self, _names: tuple[str, ...]) -> None:
        """Ignore what `click.Choice` sets."""


class LazyDefaultOption(click.Option):
    """An option whose default is a function. Its help text shows the value, where click shows `(dynamic)`."""

    def get_default(self, ctx: click.Context, call: bool = True) -> Any:  # noqa: FBT001, FBT002 - click's
        """Return the value of the default."""
        return super().get_default(ctx, call=True)


def names_option(*declarations: str, **settings: Any) -> Callable[[Decorated], Decorated]:
    """Return an option that takes names separated by commas, and may be repeated. Its value is a tuple of names.

    `settings` are further ones of `click.option`.
    """
    settings = {"metavar": "NAME[,NAME...]", **settings}
    return click.option(*declarations, multiple=True, callback=_split_names, **settings)


def _split_names(_context: click.Context, _option: click.Parameter, values: tuple[str, ...]) -> tuple[str, ...]:
    return tuple(name.strip() for value in values for name in value.split(",") if name.strip())


def path_option(
    *declarations: str,
    kind: Literal["file", "folder", "any"] = "any",
    exists: bool = False,
    **settings: Any,
) -> Callable[[Decorated], Decorated]:
    """Return an option whose value is a `Path` of this kind. `settings` are those of `click.option`.

    With `exists`, a path that does not exist is a usage error. A default is shown in the help text.
    """
    path = click.Path(exists=exists, file_okay=kind != "folder", dir_okay=kind != "file", path_type=Path)
    return click.option(*declarations, type=path, show_default="default" in settings, **settings)


def store_option(**settings: Any) -> Callable[[Decorated], Decorated]:
    """Return the option `--store`. `settings` are further ones of `click.option`."""
    return path_option(
        "--store",
        kind="folder",
        cls=LazyDefaultOption,
        default=default_store,
        envvar="RESNEST_MODEL_STORE",
        help="Folder that contains the model folders.",
        **settings,
    )


store = store_option()


def service_url(_context: click.Context, _option: click.Parameter, url: str | None) -> str | None:
    """Return the URL of a service. Raises `click.BadParameter` for text that is none, as an address without http://."""
    if url is None:
        return None
    try:
        parts = urlsplit(url)
        is_valid = bool(parts.scheme in {"http", "https"} and parts.hostname and parts.port != 0)
    except ValueError:  # brackets that are not closed, or a port that is no number
        is_valid = False
    if not is_valid:
        raise click.BadParameter(f"{url} is not the URL of a service, such as http://127.0.0.1:8000")
    return url


def _header_value(_context: click.Context, _option: click.Parameter, key: str | None) -> str | None:
    """Return a key without blanks and line ends around it. Raises `click.BadParameter` if no header can have it."""
    key = (key or "").strip()
    if not re.fullmatch(r"[!-~]*", key):
        raise click.BadParameter("a key has no blanks, and only characters of ASCII")
    return key or None


url_option = click.option(
    "--url",
    default="http://127.0.0.1:8000",
    envvar="RESNEST_URL",
    show_default=True,
    callback=service_url,
    help="URL of the running service.",
)

api_key_option = click.option(
    "--api-key",
    envvar="RESNEST_API_KEY",
    callback=_header_value,
    help="API key for the service. In the environment it is not visible in the list of processes.",
)


def require_command(context: click.Context, name: str, known: Sequence[str]) -> None:
    """Raise `click.UsageError` with the closest names if none is `name`. Options and completion are left to click.

    click itself suggests only commands that were added to their group, which those of endpoints are not.
    """
    if name in known or name.startswith("-") or context.resilient_parsing:
        return
    close = " or ".join(get_close_matches(name, known))
    raise click.UsageError(f"There is no command {name!r}{f'; did you mean {close}?' if close else '.'}", context)


def host_name(_context: click.Context, _option: click.Parameter, name: str) -> str:
    """Return the name of a host. Raises `click.BadParameter` for one that `getaddrinfo` cannot look up."""
    try:
        name.encode("idna")
    except UnicodeError as error:
        raise click.BadParameter("it is not a host name or an address") from error
    return name
