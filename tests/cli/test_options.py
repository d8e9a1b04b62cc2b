"""Tests of the options that several commands share."""

from pathlib import Path

import click
import pytest
from click.testing import CliRunner

from service.cli.options import (
    LazyChoice,
    LazyDefaultOption,
    api_key_option,
    names_option,
    path_option,
    store,
    url_option,
)


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


@click.command()
@url_option
@api_key_option
def print_service(url: str, api_key: str | None) -> None:
    """Print the URL and the key of a service."""
    click.echo(f"{url} {api_key}")


@pytest.mark.parametrize(
    "url",
    [
        *["", "127.0.0.1:8000", "localhost:8000", "ftp://a.example", "http://", "http://[::1", "http:///v1"],
        *["http://a.example:port", "http://a.example:99999"],
    ],
)
def test_what_is_no_url_of_a_service_is_a_wrong_use(url: str) -> None:
    result = CliRunner().invoke(print_service, ["--url", url])

    assert result.exit_code == 2
    assert "is not the URL of a service, such as http://127.0.0.1:8000" in result.stderr


@pytest.mark.parametrize("url", ["http://127.0.0.1:8000", "https://a.example/vision/", "http://[::1]:8000"])
def test_a_url_of_a_service_may_have_any_host_and_a_path_prefix(url: str) -> None:
    assert CliRunner().invoke(print_service, [], env={"RESNEST_URL": url}).stdout == f"{url} None\n"


@pytest.mark.parametrize(("given", "sent"), [("rsn_x", "rsn_x"), (" rsn_x\n", "rsn_x"), ("\n", "None"), ("", "None")])
def test_line_ends_around_a_key_are_removed(given: str, sent: str) -> None:
    result = CliRunner().invoke(print_service, ["--url", "http://a"], env={"RESNEST_API_KEY": given})

    assert result.stdout == f"http://a {sent}\n"


@pytest.mark.parametrize("key", ["rsn_x\nrsn_y", "rsn_x y", "rsn_\u2026", "rsn_\xe9"])
def test_a_key_that_no_header_can_have_is_a_wrong_use_and_is_not_repeated(key: str) -> None:
    result = CliRunner().invoke(print_service, [], env={"RESNEST_API_KEY": key})

    assert result.exit_code == 2
    assert "a key has no blanks" in result.stderr
    assert key not in result.output


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
