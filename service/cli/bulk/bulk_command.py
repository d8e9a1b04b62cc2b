"""The command `bulk`."""
# ruff: noqa: PLC0415 - a command imports what it needs when it runs

import asyncio
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
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
    from service.cli.bulk.input_set import NameSet, Remaining
    from service.cli.bulk.results_file import ResultsFile
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
@click.option("--retry-failed", is_flag=True, help="Ask again about those of INPUTS that have a problem in --out.")
@click.option(
    "--mix-models", is_flag=True, help="Accept answers of another model or version than those that --out has already."
)
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
    mix_models: bool,
    **asked: Any,
) -> None:
    """Ask a model about very many images, at the lowest priority, and write a line about each to --out.

    INPUTS are folders, patterns such as 'photos/**/*.jpg', images, and manifests: .txt files with a path on each line,
    or .csv files with a column file. Run the same command again to continue after a stop, or to add new files. Every
    input has exactly one line: its answer or its problem.

    The exit status is 0 if every input has an answer, 3 if one has a problem or no line, 1 if the run failed, and 2 for
    wrong options.
    """
    from service.cli.bulk import bulk_run
    from service.cli.bulk.concurrency_limit import ConcurrencyLimit

    endpoint = endpoints()[task]
    query = query_options.pairs_of(endpoint, pairs, model)
    adaptive = ConcurrencyLimit(concurrency)
    answering = open_model(endpoint, query, **asked, feedback=adaptive, patience_s=PATIENCE_S, headers=LOWEST_PRIORITY)
    limit: RequestLimit = bulk_run.FixedLimit(answering.concurrency) if asked["local"] else adaptive
    names, left_out = find_names(inputs)
    described = {"task": task, "query": query, **_folder(inputs, out)}
    run = BulkRun(inputs, names, left_out, out, described, retry_failed=retry_failed, mix_models=mix_models)
    if not asyncio.run(run.ask_all(answering, limit)):
        click.get_current_context().exit(SOME_FAILED)


@dataclass(frozen=True)
class BulkRun:
    """A run: its inputs with their names, what is left out of them, and the results with the question they answer."""

    inputs: Sequence[str]
    names: "NameSet"
    left_out: Sequence[str]
    out: Path
    described: Mapping[str, Any]
    retry_failed: bool
    mix_models: bool

    async def ask_all(self, model: "Model", limit: "RequestLimit") -> bool:
        """Ask about every input without a line, and say what the results have. Return whether all have an answer.

        The results stay as they are if the service cannot be reached. Raises `RunFailedError`.
        """
        from service.cli.bulk import bulk_run, input_set, results_file

        retried = self.names if self.retry_failed else None
        async with model:
            with results_file.opened(self.out, self.described, retried=retried, may_mix=self.mix_models) as results:
                results_file.record_left_out(self.out, self.left_out)
                done = self.names.count_in(results.done)
                remaining = input_set.Remaining(self.inputs, self.names, results.done)
                with progress(self.described["task"], len(self.names), done) as step:
                    await bulk_run.run(model, remaining, results, limit, step)
                self._say_changes(remaining)
        missing = len(self.names) - done - results.added
        self._report(results, missing)
        return not (results.failed or missing)

    def _say_changes(self, read: "Remaining") -> None:
        """Say which files were added or left out since the start, and record what is left out."""
        from service.cli.bulk import results_file

        lines = list(read.left_out.lines())
        if lines != self.left_out:
            results_file.record_left_out(self.out, lines)
            for text in lines:
                click.echo(f"Left out at the end: {text}", err=True)
        if read.added:
            click.echo(f"Files were added meanwhile, such as {read.added}: run the command again for them", err=True)

    def _report(self, results: "ResultsFile", missing: int) -> None:
        counts = f"{len(self.names)} inputs, {results.added} of them now, {results.failed} lines with a problem"
        click.echo(f"{self.out}: {counts}", err=True)
        if missing:
            click.echo(f"Removed before their turn, and without a line: {missing}", err=True)


def _folder(inputs: Sequence[str], out: Path) -> dict[str, str]:
    """Return the working folder, as seen from that of the results, if inputs are relative to it.

    From another folder the same names would be those of other files.
    """
    is_relative = any(not Path(each).is_absolute() for each in inputs)
    return {"folder": os.path.relpath(Path.cwd(), out.resolve().parent)} if is_relative else {}


def find_names(inputs: Sequence[str]) -> "tuple[NameSet, list[str]]":
    """Return the names of all inputs, and a line for each reason why files are left out, which is printed too."""
    from service.cli.bulk import input_set

    left_out = input_set.LeftOut()
    names = input_set.NameSet(file.name for file in input_set.find(inputs, left_out))
    lines = list(left_out.lines())
    for text in lines:
        click.echo(f"Left out: {text}", err=True)
    return names, lines
