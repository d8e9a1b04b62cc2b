"""A command for each endpoint: `resnest-service classify photos/` asks `/v1/classify` about every image there."""
# ruff: noqa: PLC0415 - a command imports what it needs when it runs

import asyncio
import os
import sys
from collections.abc import Callable, Sequence
from contextlib import nullcontext
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import click

from service.cli.options import api_key_option, path_option, store, url_option
from service.cli.predict import query_options
from service.cli.terminal import progress
from service.config.cores import SLEEPING_THREADS
from service.tasks.base import Endpoint

if TYPE_CHECKING:
    from service.cli.predict.image_files import ImageFiles
    from service.cli.predict.inputs import InputFile
    from service.cli.predict.output import Write
    from service.cli.predict.remote_model import Feedback
    from service.cli.predict.runner import Model
    from service.tasks.scoring_base import Remark

SOME_FAILED: Final = 3  # exit status: the run is complete, and at least one file has a problem
OVERLAY: Final = "overlay"  # the parameter of endpoints that can draw over the image

Decorated = Callable[..., None]

HELP = """{summary}.

FILES are images, folders with images, patterns such as 'photos/**/*.jpg', or - for standard input. Each file has its
answer or its problem in the output, and a file with a problem does not end the run.

The exit status is 0 if every file has an answer, 3 if at least one has a problem, 1 if the run failed, and 2 for wrong
options."""

MODEL_OPTIONS: Final = (
    click.option("--model", metavar="NAME", help="Model that answers. Default: the default model of the task."),
    url_option,
    api_key_option,
    click.option("--local", is_flag=True, help="Load the model in this process, from --store, without a service."),
    store,
)
FORM_OPTIONS: Final = (
    click.option("--json", "form", flag_value="json", help="Write a JSON document for each file, one on each line."),
    click.option("--csv", "form", flag_value="csv", help="Write a table with a row for each result."),
)


def command_of(endpoint: Endpoint[Any]) -> click.Command:
    """Return the command of an endpoint, with an option for each parameter of its query."""
    asked = click.argument("files", nargs=-1, required=True)
    into = path_option("--out", "into", kind="folder", help="Folder for masks and overlays, as files.")
    command: Decorated = _runs(endpoint)
    for option in reversed((asked, *MODEL_OPTIONS, *FORM_OPTIONS, *([into] if endpoint.image_types else ()))):
        command = option(command)
    made = click.command(endpoint.name, help=HELP.format(summary=endpoint.summary))(command)
    made.params += query_options.options(endpoint)
    return made


def open_model(
    endpoint: Endpoint[Any],
    query: dict[str, Any],
    *,
    url: str,
    api_key: str | None,
    local: bool,
    store: Path,
    feedback: "Feedback | None" = None,
    **access: Any,
) -> "Model":
    """Return the model that the options of `MODEL_OPTIONS` name; `access` has further fields of `ServiceAccess`.

    `feedback` hears of the requests to a service. Raises `CardError` and `RunFailedError`.
    """
    if local:
        os.environ |= SLEEPING_THREADS | os.environ
        from service.cli.predict.local_model import LocalModel

        return LocalModel.load(endpoint, query, store, _say)
    from service.cli.predict.remote_model import RemoteModel, ServiceAccess

    return RemoteModel(ServiceAccess(url, api_key, **access), endpoint, query, feedback, _say)


def _say(text: str) -> None:
    click.echo(text, err=True)


def say_left_out(left_out: "Sequence[Remark]") -> None:
    """Name the files of folders that are no images, on standard error."""
    from service.measure.accuracy import datasets, listing

    for text in listing.summary(left_out, Path.cwd(), datasets.SHOWN):
        _say(f"Left out: {text}")


def _runs(endpoint: Endpoint[Any]) -> Decorated:
    def run(
        files: Sequence[str],
        model: str | None,
        url: str,
        api_key: str | None,
        store: Path,
        form: str | None = None,
        into: Path | None = None,
        *,
        local: bool,
        **given: Any,
    ) -> None:
        from service.cli.predict import inputs, output
        from service.cli.predict.image_files import ImageFiles
        from service.cli.predict.records import Columns

        if into and OVERLAY in endpoint.query.model_fields and given.get(OVERLAY) is None:
            given[OVERLAY] = "png"
        query = query_options.query_of(endpoint, given, model)
        left_out: list[Remark] = []
        found = list(inputs.find(files, left_out))
        say_left_out(left_out)
        asked = open_model(endpoint, query, url=url, api_key=api_key, local=local, store=store)
        width = max(len(output.one_line(each.name)) for each in found)
        write = output.writer(form or output.FORMS[0], Columns.of(endpoint), width)
        failed = asyncio.run(_ask_all(asked, found, write, ImageFiles(into) if into else None))
        if failed:
            click.echo(f"files with a problem: {failed} of {len(found)}", err=True)
            click.get_current_context().exit(SOME_FAILED)

    return run


async def _ask_all(model: "Model", files: "Sequence[InputFile]", write: "Write", images: "ImageFiles | None") -> int:
    """Write the answer about each file. Return the number of files that have a problem instead."""
    from service.cli.predict import records, runner

    failed = 0
    shown = nullcontext(_no_step) if sys.stdout.isatty() else progress("files", len(files), 0)
    async with model:
        with shown as step:
            async for file, answer in runner.in_order(model, files):
                written = images.write(file, answer) if images else answer
                found = records.record(file.name, written)
                is_bad = bool(records.code_of(found))
                failed += is_bad
                write(found)
                step(1, int(is_bad))
    return failed


def _no_step(_answered: int, _problems: int) -> None:
    """Show nothing: on a terminal the answers themselves show the progress."""
