"""`resnest-service models`: list the models, and pull, import, verify and remove their weights."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, get_args

import click
from click.core import ParameterSource

from service.cli import terminal
from service.cli.models import model_table, next_steps
from service.cli.models.fetch_command import fetch
from service.cli.options import names_option, store_option
from service.host.served_models import control, model_archive
from service.host.served_models.reload import ReloadRequest
from service.models import model_order, text_file, zoo
from service.models.cards import CardError, KeyProfile, Library, ModelCard
from service.models.weights import checksums
from service.models.weights import store as weight_store
from service.models.weights.checksums import WeightsError
from service.models.weights.download import DownloadRules
from service.models.weights.importing import ImportSpec, InputProfile, import_checkpoint
from service.tasks import TASKS, task_of, task_of_network

if TYPE_CHECKING:
    from service.measure.tables import Table

UNREADABLE = "unreadable"
PULLABLE = ("absent", "begun")
PUBLISHED_FILE = ("store", "file", "name")  # the parameters of an import of a published file


def _existing(_context: click.Context, _option: click.Parameter, store: Path) -> Path:
    if not store.is_dir():
        where = "Name the folder of the models with --store or RESNEST_MODEL_STORE"
        raise click.BadParameter(f"{store.resolve()} is not a folder. {where}.")
    return store


existing_store = store_option(callback=_existing)


@click.group(invoke_without_command=True, commands=[fetch])
@click.pass_context
def models(context: click.Context) -> None:
    """Manage the models and their weights. Without a command, list the models."""
    if context.invoked_subcommand is None:
        with list_models.make_context("list", [], parent=context) as alone:
            list_models.invoke(alone)


@models.command("list")
@existing_store
@click.option("--json", "as_json", is_flag=True, help="Print the cards and their states as JSON.")
def list_models(store: Path, *, as_json: bool) -> None:
    """List all models, and whether their weights are here.

    A * marks a score that this project measured; the model's authors state the others. A ~ marks an estimated size.
    """
    found = zoo.read_nonempty_zoo(store, task_of)
    if as_json:
        bad = [{"name": name, "state": UNREADABLE, "error": reason} for name, reason in found.unreadable.items()]
        click.echo(json.dumps([*map(model_table.described, found.values()), *bad], indent=2))
        return
    tables: list[Table] = []
    for task in TASKS.values():  # a table for each fits 80 columns
        head, published = task.published_score
        rows = [model_table.row(card, published) for card in found.values() if task_of(card) is task]
        if rows:
            tables.append(((task.name.upper(), "WEIGHTS", "INPUT", head, "STATE"), rows))
    parts: list[Table | str] = [*tables]
    parts += model_table.footnotes([row for _, rows in tables for row in rows])
    if found.unreadable:
        parts.append((("UNREADABLE", "REASON"), list(found.unreadable.items())))
    terminal.show(parts)


@models.command()
@existing_store
@click.argument("name")
@click.option("--json", "as_json", is_flag=True, help="Print the card and its state as JSON.")
def show(store: Path, name: str, *, as_json: bool) -> None:
    """Show the card of the model NAME."""
    (card,) = _named(store, [name])
    described = model_table.described(card)
    if as_json:
        click.echo(json.dumps(described, indent=2))
        return
    rows = list(model_table.flat(described))
    width = max(len(key) for key, _ in rows)
    click.echo("\n".join(f"{key:{width}}  {value}" for key, value in rows))


@models.command()
@existing_store
@click.argument("names", nargs=-1, required=True)
def pull(store: Path, names: Sequence[str]) -> None:
    """Download the weights of the models NAMES, verify their checksums, and convert them.

    The URLs on the card are tried in their order. An interrupted download continues where it ended. HTTP_PROXY,
    HTTPS_PROXY and NO_PROXY are used.
    """
    failures = []
    for card in _named(store, names):
        try:
            fetched = _pulled(card)
        except WeightsError as error:
            failures.append(str(error))
        else:
            click.echo(f"{card.name}: {card.weights_path}{'' if fetched else ' is here already'}")
    _fail(failures)


@models.command("import")
@existing_store
@click.argument("file", type=click.Path(dir_okay=False, exists=True, path_type=Path))
@click.option("--name", required=True, help="Name of the published model, or of a new one.")
@click.option("--network", help="Network of a new model, for instance resnet50 or deeplab_resnest50.")
@click.option("--library", type=click.Choice(get_args(Library)), default="own", help="Library that has the network.")
@click.option(
    "--labels", help="Labels of a new model: a file with a line for each class, or a shared set such as imagenet1k."
)
@click.option(
    "--keys",
    "profile",
    type=click.Choice(get_args(KeyProfile)),
    default="official",
    help="Naming scheme of its weights.",
)
@click.option(
    "--input",
    "input_profile",
    type=click.Choice(get_args(InputProfile)),
    default="official",
    help="How images are cropped.",
)
@click.option("--size", type=click.IntRange(32, 4096), help="Side of the input in pixels.")
@click.option(
    "--version",
    default="1.0",
    show_default=True,
    help="Version of a new model. A further version is added to the model of that name.",
)
@click.option("--ema", is_flag=True, help="Use the averaged weights (EMA) of a checkpoint that has both.")
@click.option("--member", metavar="NAME", help="Use this member of a checkpoint in which several different ones fit.")
@click.option("--licence", default="not stated", show_default=True, help="Licence of a new model's weights.")
def import_file(store: Path, file: Path, name: str, **described: Any) -> None:
    """Import weights from FILE: a published file, for a machine without internet, or your own checkpoint.

    A published file is recognised by its checksum. --network and --labels make a new model of your own checkpoint.
    """
    given = [described["network"], described["labels"]]
    if given == [None, None]:
        _refuse_unused()
        (card,) = _named(store, [name])
        weight_store.pull_from_file(card, file, _say)
        click.echo(f"{name}: {card.weights_path}")
        return
    if None in given:
        raise click.UsageError("a new model needs both --network and --labels")
    task = task_of_network(described["network"], described["library"])
    spec = ImportSpec(
        name=name,
        task=task.name,
        input=task.imported_input(described["network"]),
        serving=task.imported_serving,
        has_colours=task.has_colours,
        **described,
    )
    imported = import_checkpoint(store, spec, file)
    click.echo(f"{name}: used {imported.used} of {text_file.printable(file)}")
    if imported.left_out:
        click.echo(f"{name}: left out {text_file.printable(', '.join(imported.left_out))}")
    click.echo(f"{name}: {imported.folder}")
    click.echo(next_steps.after_adding(name, store))


def _refuse_unused() -> None:
    """Raise `UsageError` for options of a new model, which would be ignored for a published file."""
    context = click.get_current_context()
    given = [
        parameter.opts[0]
        for parameter in context.command.params
        if context.get_parameter_source(str(parameter.name)) is ParameterSource.COMMANDLINE
        and parameter.name not in PUBLISHED_FILE
    ]
    if given:
        raise click.UsageError(
            f"{', '.join(given)}: only for a new model, which needs --network and --labels; without them FILE is a "
            "published file of the model --name"
        )


@models.command()
@existing_store
@click.argument("names", nargs=-1)
def verify(store: Path, names: Sequence[str]) -> None:
    """Verify the checksums of the weights that are here. Exits with 1 if any differ."""
    failures: list[str] = []
    if names:
        chosen = _named(store, names)
    else:
        found = zoo.read_zoo(store)
        chosen = [card for card in found.values() if weight_store.state(card) == "ready"]
        failures += found.unreadable.values()
    for card in chosen:
        try:
            checksums.verify(card)
        except CardError as error:
            failures.append(str(error))
        else:
            click.echo(f"{card.name}: {card.checksum}")
    _fail(failures)


@models.command()
@existing_store
@click.argument("names", nargs=-1, required=True)
@click.option("--yes", is_flag=True, help="Delete imported and trained models without asking.")
def remove(store: Path, names: Sequence[str], *, yes: bool) -> None:
    """Delete the weights of pulled models. An imported or trained model is deleted with its card.

    Models that came with the store are not removed.
    """
    for card in _named(store, names):
        is_own = weight_store.is_imported(card)
        if is_own and not yes:
            terminal.confirm(f"{card.name} cannot be pulled again. Delete {card.folder}?")
        weight_store.remove(card, store / model_archive.ARCHIVES, _say)
        click.echo(f"{card.name}: removed {card.folder if is_own else card.weights_path.parent}")
        for line in model_order.record(store):
            click.echo(line)
    click.echo(next_steps.after_removing(store))


@models.command("reload")
@existing_store
@names_option(
    "--models",
    envvar="RESNEST_MODELS",
    help="Models to serve from now on. Default: those of the start of the service, as the store has them now.",
)
@click.option("--port", type=int, help="Port of the service, if several have this store.")
@click.option("--ignore-memory", is_flag=True, help="Add models although the memory is estimated not to suffice.")
def reload_models(store: Path, models: tuple[str, ...], port: int | None, *, ignore_memory: bool) -> None:
    """Make the running service serve what is in the store now, without a restart.

    New models and versions are added, changed ones replaced, and missing ones removed. If one fails, nothing changes.
    The default model of a task stays while it is served. If it changes, a line says so.
    """
    request = ReloadRequest(models, ignore_memory)
    control.reload(control.running(store, port), request, click.echo)


def pull_absent(store: Path, names: Sequence[str]) -> None:
    """Pull the published weights of the models NAMES that are not here.

    Raises `CardError` for an unknown name, and `WeightsError` for the first weights that cannot be pulled.
    """
    for card in _named(store, names):
        if weight_store.state(card) in PULLABLE:
            _say(f"{card.name}: its weights are not here; pulling them")
            _pulled(card)


def _pulled(card: ModelCard) -> bool:
    """Pull with a progress bar, and return whether anything was downloaded."""
    with terminal.download(card.name) as progress:
        return weight_store.pull(card, DownloadRules(), progress, _say)


def _named(store: Path, names: Sequence[str]) -> list[ModelCard]:
    return zoo.read_zoo(store, task_of).select(names)


def _say(what: str) -> None:
    click.echo(what, err=True)


def _fail(failures: Sequence[str]) -> None:
    if failures:
        raise WeightsError("\n".join(failures))
