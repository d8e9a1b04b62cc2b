"""The command `bulk`."""
# ruff: noqa: PLC0415 - a command imports what it needs when it runs

import asyncio
import os
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import click

from service.cli.options import LazyChoice, LazyDefaultOption, path_option
from service.cli.predict import query_options
from service.cli.predict.predict_command import MODEL_OPTIONS, SOME_FAILED, open_model
from service.cli.terminal import progress
from service.tasks import endpoints

if TYPE_CHECKING:
    from service.cli.bulk.bulk_run import RequestLimit
    from service.cli.bulk.input_set import NameSet
    from service.cli.bulk.results_file import ResultsFile
    from service.cli.predict.inputs import InputFile
    from service.cli.predict.runner import Model

LOWEST_PRIORITY: Final = {"Priority": "u=7"}  # RFC 9218; such work yields to that of all other callers
PATIENCE_S: Final = 3600.0  # a restart or an overload of the service does not end the run


def _with_model_options(command: Any) -> Any:
    for option in reversed(MODEL_OPTIONS):
        command = option(command)
    return command


@click.command()
@click.argument("inputs", nargs=-1, required=True)
@click.option(
    "--task",
    cls=LazyDefaultOption,
    type=LazyChoice(endpoints),
    default=lambda: next(iter(endpoints())),
    show_default=True,
    help="What to ask about each image.",
)
@click.option(
    "--query", "pairs", metavar="NAME=VALUE", multiple=True, help="Parameter of the task, such as top_k=3. Repeatable."
)
@path_option("--out", kind="file", required=True, help="File for the results, as JSON Lines.")
@click.option(
    "--concurrency",
    default=64,
    show_default=True,
    type=click.IntRange(1, 1024),
    help="Most requests in flight. Fewer are used while other callers need the service.",
)
@click.option("--retry-failed", is_flag=True, help="Ask again about the inputs that have a problem in --out.")
@_with_model_options
def bulk(
    inputs: Sequence[str],
    task: str,
    pairs: Sequence[str],
    out: Path,
    concurrency: int,
    model: str | None,
    *,
    retry_failed: bool,
    **asked: Any,
) -> None:
    """Ask a model about very many images, at the lowest priority, and write a line about each to --out.

    INPUTS are folders, patterns such as 'photos/**/*.jpg', images, and manifests: .txt files with a path on each line,
    or .csv files with a column file. Run the same command again to continue after a stop, or to add new files. Every
    input has exactly one line: its answer or its problem.

    The exit status is 0 if every input has an answer, 3 if at least one has a problem, 1 if the run failed, and 2 for
    wrong options.
    """
    from service.cli.bulk import bulk_run, results_file
    from service.cli.bulk.concurrency_limit import ConcurrencyLimit

    endpoint = endpoints()[task]
    query = query_options.pairs_of(endpoint, pairs, model)
    adaptive = ConcurrencyLimit(concurrency)
    answering = open_model(
        endpoint, query, **asked, on_busy=adaptive.busy, patience_s=PATIENCE_S, headers=LOWEST_PRIORITY
    )
    limit: RequestLimit = bulk_run.FixedLimit(answering.concurrency) if asked["local"] else adaptive
    names, left_out = _names(inputs)
    run = {"task": task, "query": query, **_folder(inputs, out)}
    with results_file.opened(out, run, retry_failed=retry_failed) as results:
        results_file.record_left_out(out, left_out)
        done = names.count_in(results.done)
        files = _remaining(inputs, names, results)
        with progress(task, len(names), done) as step:
            asyncio.run(_ask_all(answering, files, results, limit, step))
    _report(out, len(names), done, results.failed)


def _folder(inputs: Sequence[str], out: Path) -> dict[str, str]:
    """Return the working folder, as seen from that of the results, if inputs are relative to it.

    From another folder the same names would be those of other files.
    """
    is_relative = any(not Path(each).is_absolute() for each in inputs)
    return {"folder": os.path.relpath(Path.cwd(), out.resolve().parent)} if is_relative else {}


def _report(out: Path, inputs: int, earlier: int, failed: int) -> None:
    """Say what the results have, and exit with `SOME_FAILED` if a line has a problem."""
    click.echo(f"{out}: {inputs} inputs, {inputs - earlier} of them now, {failed} lines with a problem", err=True)
    if failed:
        click.get_current_context().exit(SOME_FAILED)


def _names(inputs: Sequence[str]) -> "tuple[NameSet, list[str]]":
    """Return the names of all inputs, and a line for each reason why files are left out, which is printed too."""
    from service.cli.bulk import input_set

    left_out = input_set.LeftOut()
    names = input_set.NameSet(file.name for file in input_set.find(inputs, left_out))
    lines = list(left_out.lines())
    for text in lines:
        click.echo(f"Left out: {text}", err=True)
    return names, lines


def _remaining(inputs: Sequence[str], names: "NameSet", results: "ResultsFile") -> "Iterator[InputFile]":
    """Yield each input that has no line yet."""
    from service.cli.bulk import input_set

    files = input_set.once(input_set.find(inputs, input_set.LeftOut()), names)
    return (file for file in files if file.name not in results.done)


async def _ask_all(
    model: "Model", files: "Iterator[InputFile]", results: "ResultsFile", limit: "RequestLimit", step: Any
) -> None:
    from service.cli.bulk import bulk_run

    async with model:
        await bulk_run.run(model, files, results, limit, step)
