"""Run Prometheus, Alertmanager and the example receiver with the files of `deploy`, all on loopback."""

import os
import shutil
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import click
import yaml

from deploy.demo.windows import shortened
from service.host.processes import Child, free_port

DEPLOY: Final = Path(__file__).parents[1]
TOOLS: Final = DEPLOY.parent / "build/deploy-tools/bin"
START_S: Final = 60.0
GATEWAYS: Final = "resnest-gateway"  # the job of Prometheus; workers have no GPU here
LINKS: Final = {"runbooks": "docs/operations/alerts.md", "dashboards": "http://127.0.0.1:3000"}


@dataclass(frozen=True)
class Monitoring:
    """Where Prometheus and Alertmanager listen, and the file with the lines of the example receiver."""

    prometheus: str
    alertmanager: str
    notifications: Path


@contextmanager
def monitoring(folder: Path, target: str, factor: int) -> Iterator[Monitoring]:
    """Watch a gateway (`host:port`) with the project's rules, with windows shortened by the factor."""
    with ExitStack() as running, alerting(folder, factor) as (alertmanager, notifications):
        rules = folder / "rules"
        rules.mkdir()
        for path in (DEPLOY / "prometheus/rules").glob("*.yml"):
            (rules / path.name).write_text(shortened(path.read_text(encoding="utf-8"), factor), encoding="utf-8")
        configuration = folder / "prometheus.yml"
        configuration.write_text(yaml.safe_dump(_prometheus(target, alertmanager, rules, factor)), encoding="utf-8")
        address = f"127.0.0.1:{free_port()}"
        command = [find("prometheus"), f"--config.file={configuration}", f"--storage.tsdb.path={folder / 'samples'}"]
        running.enter_context(_child([*command, f"--web.listen-address={address}"], folder, "prometheus"))
        await_answer(f"http://{address}/-/ready")
        yield Monitoring(f"http://{address}", f"http://{alertmanager}", notifications)


@contextmanager
def alerting(folder: Path, factor: int = 1) -> Iterator[tuple[str, Path]]:
    """Run Alertmanager with the project's file and the example receiver; yield its address and the receiver's log."""
    with ExitStack() as running:
        port = free_port()
        receiver = [sys.executable, str(DEPLOY / "alertmanager/alert_log.py"), str(port)]
        notifications = running.enter_context(_child(receiver, folder, "notifications"))
        text = (DEPLOY / "alertmanager/alertmanager.yml").read_text(encoding="utf-8")
        configuration = folder / "alertmanager.yml"
        here = shortened(text, factor).replace("http://alert-log:9099/", f"http://127.0.0.1:{port}/")
        configuration.write_text(here, encoding="utf-8")
        address = f"127.0.0.1:{free_port()}"
        command = [find("prometheus-alertmanager", "alertmanager"), f"--config.file={configuration}"]
        command += [f"--storage.path={folder / 'alertmanager'}", "--cluster.listen-address="]
        running.enter_context(_child([*command, f"--web.listen-address={address}"], folder, "alertmanager"))
        await_answer(f"http://{address}/-/ready")
        yield address, notifications


def find(*names: str) -> str:
    """Return the path of a program that has one of these names. Raise `click.ClickException` if there is none."""
    for name in names:
        if found := shutil.which(name, path=str(TOOLS)) or shutil.which(name):
            return found
    raise click.ClickException(f"{names[0]} is not installed; .ci/deploy-tools.sh installs it")


def await_answer(url: str, timeout_s: float = START_S) -> None:
    """Return when the URL answers 200. Raise `click.ClickException` after the time."""
    end = time.monotonic() + timeout_s
    while time.monotonic() < end:
        try:
            with urllib.request.urlopen(url, timeout=5):  # noqa: S310 - a URL of this program
                return
        except (urllib.error.URLError, OSError):
            time.sleep(0.1)
    raise click.ClickException(f"{url} does not answer within {timeout_s:g} s")


def _prometheus(target: str, alertmanager: str, rules: Path, factor: int) -> Mapping[str, Any]:
    """Return the project's configuration with these addresses in place of names."""
    found = yaml.safe_load(shortened((DEPLOY / "prometheus/prometheus.yml").read_text(encoding="utf-8"), factor))
    found["scrape_configs"] = [
        {"job_name": job["job_name"], "static_configs": [{"targets": [target]}]}
        for job in found["scrape_configs"]
        if job["job_name"] == GATEWAYS
    ]
    found["alerting"]["alertmanagers"] = [{"static_configs": [{"targets": [alertmanager]}]}]
    found["global"] |= {"scrape_timeout": found["global"]["scrape_interval"], "external_labels": LINKS}
    found["rule_files"] = [str(rules / "*.yml")]
    return dict(found)


@contextmanager
def _child(command: Sequence[str], folder: Path, name: str) -> Iterator[Path]:
    """Run a program until the end of the context, and yield its log."""
    log = folder / f"{name}.log"
    with log.open("wb") as output:
        child = Child.start(command, {"PATH": os.environ.get("PATH", os.defpath)}, folder, output)
        try:
            yield log
        finally:
            child.stop(10)
