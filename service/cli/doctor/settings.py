"""`resnest-service settings`: every setting with its value, default, origin and meaning."""

import json
import os
from dataclasses import asdict

import click

from service.cli.terminal import show_table
from service.config import environment, setting_table
from service.config.environment import SettingsError

HEAD = ("SETTING", "VALUE", "DEFAULT", "ORIGIN", "MEANING")
UNUSABLE = "cannot be used"


@click.command()
@click.option("--json", "as_json", is_flag=True, help="Print the settings as JSON.")
@click.option("--markdown", "as_markdown", is_flag=True, help="Print the page docs/settings.md.")
@click.option("--changed", is_flag=True, help="Only the settings that the environment sets.")
def settings(*, as_json: bool, as_markdown: bool, changed: bool) -> None:
    """List every setting: its value, its default, where the value is from, and what it means.

    The exit status is 1 if a variable that begins with RESNEST_ is unknown or has a value that cannot be used.
    """
    if as_markdown:
        click.echo(setting_table.manual(), nl=False)
        return
    rows = [row for row in setting_table.rows(os.environ) if not changed or row.origin != "default"]
    if as_json:
        click.echo(json.dumps([asdict(row) for row in rows], indent=2))
    else:
        cells = [(row.name, UNUSABLE if row.value is None else row.value, row.default) for row in rows]
        ends = [(row.origin, row.meaning) for row in rows]
        show_table(HEAD, [(*cell, *end) for cell, end in zip(cells, ends, strict=True)], {UNUSABLE: "red"})
    if problems := problems_of_environment():
        raise click.ClickException("; ".join(problems))


def problems_of_environment() -> list[str]:
    """Return a sentence for each variable that is unknown or has a value that cannot be used."""
    found = environment.unknown(os.environ)
    try:
        environment.read()
    except SettingsError as error:
        found.append(str(error))
    return found
