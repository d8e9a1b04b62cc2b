"""The command `doctor`."""

import json
import os
from collections.abc import Iterable, Sequence
from dataclasses import asdict
from functools import partial
from typing import TYPE_CHECKING

import click

from service.cli.doctor import finding
from service.cli.doctor.finding import counted
from service.cli.terminal import show_table
from service.config.cores import SLEEPING_THREADS
from service.config.environment import SettingsError

if TYPE_CHECKING:
    from service.cli.doctor.finding import Check, Finding

COLOURS = {"ok": "green", "warning": "yellow", "problem": "bold red"}


@click.command()
@click.option("--json", "as_json", is_flag=True, help="Print the findings as JSON.")
@click.option("--port", type=click.IntRange(1, 65535), help="Port of `run --port` to check. Default: the setting.")
def doctor(port: int | None, *, as_json: bool) -> None:
    """Check this host, the installation, the models and the settings, and say how to correct what is wrong.

    The settings are those of the environment, as `gateway` and `run` read them. The exit status is 1 if there is a
    problem.
    """
    os.environ |= SLEEPING_THREADS | os.environ

    found = list(finding.run(_checks(port)))
    if as_json:
        click.echo(json.dumps([asdict(each) for each in found], indent=2))
    else:
        show_table(("CHECK", "STATE", "FOUND"), [(each.check, each.state, each.found) for each in found], COLOURS)
        _say_cures(found)
    if any(each.state == "problem" for each in found):
        click.get_current_context().exit(1)


def _say_cures(found: "Sequence[Finding]") -> None:
    to_correct = [each for each in found if each.state != "ok"]
    for each in to_correct:
        click.echo(f"\n{click.style(each.check, bold=True)}: {each.found}\n  {each.cure}")
    problems = sum(each.state == "problem" for each in found)
    counts = {"check": len(found), "problem": problems, "warning": len(to_correct) - problems}
    click.echo(f"\n{', '.join(counted(number, noun) for noun, number in counts.items())}")


def _checks(port: int | None) -> "Iterable[Check]":
    """Return the checks. Without a `port` the one of the settings is checked."""
    from service.cli.doctor import host_findings, model_findings  # noqa: PLC0415 - when the command runs
    from service.config import environment  # noqa: PLC0415

    yield from (host_findings.python, host_findings.system, host_findings.java, host_findings.processor)
    yield from (host_findings.memory, host_findings.open_files, host_findings.native_libraries)
    yield from (model_findings.libraries, model_findings.gpu, model_findings.variables)
    try:
        settings = environment.read(**({} if port is None else {"port": port}))
    except SettingsError:  # `variables` has named it; the other checks need settings
        return
    for check in (host_findings.port, host_findings.disks, model_findings.store, model_findings.keys):
        yield _named(check.__name__, partial(check, settings))
    yield _named("engine", lambda: model_findings.engine(model_findings.served(settings)))


def _named(name: str, check: "Check") -> "Check":
    """Return the check with a name, which a report of its failure shows."""

    def run() -> "Iterable[Finding]":
        return check()

    run.__name__ = name
    return run
