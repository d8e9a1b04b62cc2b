"""Click options that several commands share."""

from collections.abc import Callable
from pathlib import Path
from typing import Any, Literal, TypeVar

import click

Decorated = TypeVar("Decorated", bound=Callable[..., Any] | click.Command)


def names_option(*declarations: str, envvar: str, help: str) -> Callable[[Decorated], Decorated]:  # noqa: A002 - click's
    """Return an option that takes names separated by commas, and may be repeated. Its value is a tuple of names."""
    return click.option(
        *declarations, multiple=True, metavar="NAME[,NAME...]", envvar=envvar, callback=_split_names, help=help
    )


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


store = path_option(
    "--store",
    kind="folder",
    default=Path("model_store"),
    envvar="RESNEST_MODEL_STORE",
    help="Folder that contains the model folders.",
)
