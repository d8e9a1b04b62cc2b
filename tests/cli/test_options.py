"""Tests of the options that several commands share."""

from pathlib import Path

import click
import pytest
from click.testing import CliRunner

from service.cli.options import LazyChoice, LazyDefaultOption, names_option, path_option, store


@click.command()
@names_option("--models", envvar="RESNEST_MODELS", help="Names.")
def print_names(models: tuple[str, ...]) -> None:
    """Print the names, one on each line."""
    click.echo("\n".join(models))


@click.command()
@path_option("--json", "file", kind="file", exists=True, help="A file.")
def print_file(file: Path) -> None:
    """Print the path of the file."""
    click.echo(file)


@click.command()
@store
def print_store(store: Path) -> None:
    """Print the path of the store."""
    click.echo(store)


@pytest.mark.parametrize(
    ("words", "expected"),
    [([], ["c"]), (["--models", "a, b,", "--models", "d"], ["a", "b", "d"])],
)
def test_names_are_split_at_commas_and_an_option_may_be_repeated(words: list[str], expected: list[str]) -> None:
    result = CliRunner().invoke(print_names, words, env={"RESNEST_MODELS": "c"})
    assert result.stdout.split() == expected


def test_a_path_must_be_of_its_kind_and_exist_where_that_is_required(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    assert CliRunner().invoke(print_file, ["--json", str(tmp_path / "file")]).stdout == f"{tmp_path / 'file'}\n"
    for path in (tmp_path, tmp_path / "missing"):
        assert CliRunner().invoke(print_file, ["--json", str(path)]).exit_code == 2


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
    assert CliRunner().invoke(print_store, words, env=environment).stdout == f"{expected}\n"


def test_a_choice_and_its_default_are_computed_when_the_command_runs() -> None:
    names = ["first"]

    @click.command()
    @click.option(
        "--name",
        cls=LazyDefaultOption,
        type=LazyChoice(lambda: names),
        default=lambda: names[-1],
        show_default=True,
        help="A name.",
    )
    def print_name(name: str) -> None:
        click.echo(name)

    assert CliRunner().invoke(print_name, ["--name", "later"]).exit_code == 2
    names.append("later")
    assert CliRunner().invoke(print_name, ["--name", "first"]).stdout == "first\n"
    assert CliRunner().invoke(print_name, []).stdout == "later\n"
    help_text = " ".join(CliRunner().invoke(print_name, ["--help"]).stdout.split())
    assert "[first|later]" in help_text
    assert "[default: later]" in help_text
