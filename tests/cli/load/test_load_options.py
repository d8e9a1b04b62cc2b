"""Options that are no numbers, sizes or headers are refused in words."""

from typing import Any

import click
import pytest

from service.cli.load import load_options
from service.cli.load.bench import bench
from service.cli.load.capacity import capacity

COMMAND: Any = click.Command("any")
OPTION = click.Option(["--any"])


def parsed(parse: Any, value: Any) -> Any:
    return parse(click.Context(COMMAND), OPTION, value)


def test_numbers_sizes_and_headers_are_read() -> None:
    assert parsed(load_options.numbers, "1,2.5") == (1, 2.5)
    assert parsed(load_options.numbers, None) == ()
    assert parsed(load_options.sizes, ("500x335", "1x1")) == ((500, 335), (1, 1))
    assert parsed(load_options.headers, ("X-API-Key: a:b",)) == (("X-API-Key", "a:b"),)


@pytest.mark.parametrize(
    ("parse", "value"),
    [
        (load_options.numbers, "1,x"),
        (load_options.numbers, "0"),
        (load_options.sizes, ("500",)),
        (load_options.sizes, ("0x5",)),
        (load_options.sizes, ("99999x99999",)),
        (load_options.headers, ("no header",)),
        (load_options.headers, ("A: b\n",)),
    ],
)
def test_what_cannot_be_read_is_refused(parse: Any, value: Any) -> None:
    with pytest.raises(click.BadParameter, match=r"\w"):
        parsed(parse, value)


def test_both_commands_have_the_shared_options() -> None:
    names = [{option.name for option in each.params} for each in (bench, capacity)]

    assert {"task", "model", "duration", "warm_up", "image_folder", "size", "header"} <= names[0] & names[1]
