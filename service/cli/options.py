"""Options that several commands have."""

from pathlib import Path

import click

store = click.option(
    "--store",
    type=click.Path(file_okay=False, path_type=Path),
    default=Path("model_store"),
    envvar="RESNEST_MODEL_STORE",
    show_default=True,
    help="The folder of the model folders.",
)
