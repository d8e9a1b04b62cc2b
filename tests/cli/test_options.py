"""Options that several commands have."""

from pathlib import Path

import click
import pytest
from click.testing import CliRunner

from service.cli.options import store


@click.command()
@store
def told(store: Path) -> None:
    """Say which store it is."""
    click.echo(store)


@pytest.mark.parametrize(
    ("words", "environment", "expected"),
    [
        ([], {}, "model_store"),
        ([], {"RESNEST_MODEL_STORE": "shelf"}, "shelf"),
        (["--store", "mine"], {"RESNEST_MODEL_STORE": "shelf"}, "mine"),
    ],
)
def test_a_store_is_named_by_word_then_by_the_environment(
    words: list[str], environment: dict[str, str], expected: str
) -> None:
    assert CliRunner().invoke(told, words, env=environment).stdout == f"{expected}\n"
