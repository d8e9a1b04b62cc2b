"""Options that the commands which put load on a service share."""

from collections.abc import Callable
from typing import Any

import click

from service.cli.options import LazyChoice, LazyDefaultOption, path_option
from service.tasks import endpoints

SIZES = ("500x335", "335x500", "640x480", "1280x960")
MAX_PIXELS = 50_000_000  # the default limit of the service

SECONDS = click.FloatRange(0.1, 3600)


def numbers(_context: click.Context, _option: click.Parameter, text: str | None) -> tuple[float, ...]:
    """Parse numbers that are separated by commas. Raises `click.BadParameter`."""
    try:
        found = tuple(float(part) for part in text.split(",")) if text else ()
    except ValueError as error:
        raise click.BadParameter(f"{text!r} is not a list of numbers") from error
    if not all(0 < number < 1e6 for number in found):
        raise click.BadParameter("every number must be above 0 and below one million")
    return found


def sizes(_context: click.Context, _option: click.Parameter, texts: tuple[str, ...]) -> tuple[tuple[int, int], ...]:
    """Parse the sizes of generated images. Raises `click.BadParameter`."""
    return tuple(map(_size, texts))


def _size(text: str) -> tuple[int, int]:
    width, _, height = text.partition("x")
    if not (width.isdecimal() and height.isdecimal() and 0 < int(width) * int(height) <= MAX_PIXELS):
        raise click.BadParameter(f"{text!r} is not a size like 500x335 with at most {MAX_PIXELS} pixels")
    return int(width), int(height)


def headers(_context: click.Context, _option: click.Parameter, texts: tuple[str, ...]) -> tuple[tuple[str, str], ...]:
    """Parse headers. Raises `click.BadParameter`."""
    pairs = [text.partition(":") for text in texts]
    if not all(name.strip() and colon and (name + value).isprintable() for name, colon, value in pairs):
        raise click.BadParameter("a header has the form `Name: value`")
    return tuple((name.strip(), value.strip()) for name, _, value in pairs)


# What is measured, and with which images.
SHARED = (
    click.option(
        "--task",
        cls=LazyDefaultOption,
        type=LazyChoice(endpoints),
        default=lambda: next(iter(endpoints())),
        show_default=True,
    ),
    click.option("--model", help="Model to measure. Default: the default model of the task."),
    click.option("--duration", default=10.0, show_default=True, type=SECONDS, help="Measured seconds of each load."),
    click.option("--warm-up", default=2.0, show_default=True, type=SECONDS, help="Seconds before the measured ones."),
    path_option("--image-folder", "image_folder", kind="folder", exists=True, help="Folder of images to send."),
    click.option(
        "--size",
        metavar="WxH",
        multiple=True,
        default=SIZES,
        show_default=True,
        callback=sizes,
        help="Size of generated images. Repeat the option for several sizes.",
    ),
    click.option("--header", metavar="NAME: VALUE", multiple=True, callback=headers, help="Header of every request."),
)


def with_options(options: tuple[Callable[[Any], Any], ...]) -> Callable[[Callable[..., None]], Callable[..., None]]:
    """Return a decorator that adds options to a command, in their order."""

    def decorate(command: Callable[..., None]) -> Callable[..., None]:
        for option in reversed(options):
            command = option(command)
        return command

    return decorate
