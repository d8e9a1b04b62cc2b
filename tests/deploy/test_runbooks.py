"""The commands of the operators' pages are ones that kubectl and compose accept."""

import os
import re
import shlex
import shutil
import subprocess
import sys
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from itertools import pairwise
from pathlib import Path

import pytest

from tests.deploy import reading
from tests.deploy.programs import TOP, program
from tests.deploy.test_model_workers import page_overlay

PAGES = sorted((TOP / "docs/operations").glob("*.md"))
CODE = re.compile(
    r"```sh\n(.*?)```|`((?:kubectl|docker compose) [^`]+)`|^    (kubectl [^\n]+)$", re.DOTALL | re.MULTILINE
)
COMMAND = re.compile(r"\b(kubectl|docker compose) (?:[^|&;\n}'\"]|'[^']*'|\"[^\"]*\")+")
NOWHERE = "127.0.0.1:1"
# What a program says of a command line that it does not take. It then never asks the server.
REFUSED = re.compile(
    r"unknown (?:shorthand )?flag|unknown command|invalid argument|flag needs|requires|must specify|usage:", re.I
)


def commands(tool: str) -> Iterator[tuple[str, list[str]]]:
    """Yield the commands of one tool in all pages, each with the name of its page."""
    for page in PAGES:
        for code in CODE.findall(page.read_text(encoding="utf-8")):
            for found in COMMAND.finditer("".join(code).replace('"${@:2}"', "").replace("\\\n", "")):
                if found[1] == tool and "<" not in found[0]:
                    words = shlex.split(found[0].replace("$1", "worker"))
                    yield page.name, words[len(tool.split()) :]


def parameters(tool: str) -> list[object]:
    return [pytest.param(words, id=f"{page}: {' '.join(words)[:60]}") for page, words in commands(tool)]


@pytest.mark.parametrize("words", parameters("kubectl"))
def test_kubectl_accepts_the_command_of_a_page(words: list[str], tmp_path: Path) -> None:
    kubectl = shutil.which("kubectl")
    if kubectl is None:
        pytest.skip("kubectl is not installed")
    configuration = tmp_path / "config"
    configuration.write_text(
        f"apiVersion: v1\nkind: Config\ncurrent-context: a\ncontexts: [{{name: a, context: {{cluster: a}}}}]\n"
        f"clusters: [{{name: a, cluster: {{server: 'http://{NOWHERE}'}}}}]\n",
        encoding="utf-8",
    )

    said = tried([kubectl, *words], KUBECONFIG=str(configuration))

    assert not REFUSED.search(said), said


@pytest.mark.parametrize("words", parameters("docker compose"))
def test_compose_accepts_the_command_of_a_page(words: list[str]) -> None:
    said = tried([program("docker-compose"), *words], DOCKER_HOST=f"tcp://{NOWHERE}")

    assert not REFUSED.search(said), said


def tried(command: list[str], **environment: str) -> str:
    """Return what a program says that finds no server."""
    done = subprocess.run(
        command, cwd=TOP, env={**os.environ, **environment}, capture_output=True, text=True, timeout=60, check=False
    )
    return done.stdout + done.stderr


def test_a_command_of_a_page_reads_only_metrics_that_there_are() -> None:
    exposed = {series for each in reading.metrics().values() for series in each}
    texts = [text for page in PAGES for text in re.findall(r"```sh\n(.*?)```", page.read_text("utf-8"), re.DOTALL)]
    read = {name for text in texts for name in re.findall(r"\b(resnest_\w+)[ .]*[{[]", text)}

    assert read
    assert read <= exposed


def test_a_page_finds_deployments_by_their_label_and_so_those_of_single_models_too() -> None:
    """`deployment/worker` does not exist where each model has its own workers."""
    found = [
        (page.name, each)
        for page in PAGES
        if page.name in {"incident.md", "alerts.md"}
        for each in re.findall(r"kubectl [^`\n]*deployments?[/ ]worker\b", page.read_text("utf-8"))
    ]

    assert found == []
    for name in ("gateway", "worker"):
        labels = reading.of_kind("base", "Deployment")[name]["metadata"]["labels"]
        assert labels["app.kubernetes.io/name"] == name


KINDS = {"hpa": "HorizontalPodAutoscaler", "service": "Service"}
# "A changed selector" and the pods with a gateway are about the workers of all models.
SHARED = {("rollouts.md", "worker"), ("scale.md", "worker")}


def named(kind: str) -> set[tuple[str, str]]:
    """Return what the commands of the pages name of a kind, each with its page: `kind/name` or `kind name`."""
    found = set()
    for page, words in commands("kubectl"):
        for word, following in pairwise([*words, "-"]):
            if word.startswith(f"{kind}/"):
                found.add((page, word.partition("/")[2]))
            elif word == kind and not following.startswith("-"):
                found.add((page, following))
    return found


def test_every_deployment_that_a_command_names_is_in_every_overlay(tmp_path: Path) -> None:
    """Also in one whose models have workers of their own, as the page about scaling shows it."""
    overlays = [reading.rendered(overlay) for overlay in ("overlays/gpu", "overlays/local")]
    own = [each for each in page_overlay(tmp_path) if each["kind"] == "Deployment"]
    there = [
        {each["metadata"]["name"] for each in manifests if each["kind"] == "Deployment"}
        for manifests in (*overlays, own)
    ]

    assert len(named("deployment")) > 3
    assert {(page, name) for page, name in named("deployment") if name not in set.intersection(*there)} == SHARED
    assert {name for _, name in SHARED} <= there[0]


@pytest.mark.parametrize("kind", ["hpa", "service"])
def test_everything_else_that_a_command_names_is_in_the_overlay_of_production(kind: str) -> None:
    found = named(kind)

    assert found
    assert {name for _, name in found} <= reading.of_kind("overlays/gpu", KINDS[kind]).keys()


def test_a_gateways_answer_is_printed_whatever_its_status() -> None:
    """`/readyz` is 503 while a gateway is not ready, and its document then says why."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(503)
            self.end_headers()
            self.wfile.write(f"not ready: {self.path}".encode())

        def log_message(self, *_: object) -> None: ...

    page = (TOP / "docs/operations/incident.md").read_text(encoding="utf-8")
    programs = set(re.findall(r"python -c '([^']*)' \"\$1\"", page))
    with HTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        try:
            (code,) = programs
            here = code.replace("9000", str(server.server_port))
            assert here != code
            assert tried([sys.executable, "-c", here, "/readyz"]) == "not ready: /readyz\n"
        finally:
            server.shutdown()
            thread.join()


def test_the_check_notices_a_command_that_does_not_exist() -> None:
    said = tried([program("docker-compose"), "logs", "--sinse", "1h"], DOCKER_HOST=f"tcp://{NOWHERE}")

    assert REFUSED.search(said)
    assert len([*commands("kubectl")]) > 10


def test_a_page_reads_the_logs_of_all_pods_and_never_of_one_of_a_deployment() -> None:
    """`kubectl logs deployment/worker` shows one pod of many, which is usually not the one that failed."""
    found = [
        (page.name, each)
        for page in PAGES
        for each in re.findall(r"kubectl logs deployment\S+", page.read_text("utf-8"))
    ]

    assert found == []


def test_every_alert_has_a_runbook_that_says_what_to_do() -> None:
    page = (TOP / "docs/operations/alerts.md").read_text(encoding="utf-8")
    sections = dict(re.findall(r"^### (\w+)\n(.*?)(?=^##|\Z)", page, re.DOTALL | re.MULTILINE))

    assert sorted(sections) == sorted(rule["alert"] for rule in reading.rules("alert"))
    assert [name for name, text in sections.items() if "\n1. " not in text and "steps are those of" not in text] == []
