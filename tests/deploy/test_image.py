"""The Dockerfile passes hadolint, and has the ports, variables and commands of the rest of the project."""

import json
import os
import re
import subprocess
from pathlib import Path

import pytest

from service import __version__
from service.config.settings import Settings
from tests.deploy import reading
from tests.deploy.programs import TOP, run

TARGETS = ("gateway", "worker")
STARTERS = "model_store/starter-*"
LINES = (TOP / "Dockerfile").read_text(encoding="utf-8").replace("\\\n", " ").splitlines()


def stage(name: str) -> list[str]:
    """Return the instructions of a stage."""
    start = next(at for at, line in enumerate(LINES) if re.fullmatch(rf"FROM .* AS {name}", line))
    end = next((at for at in range(start + 1, len(LINES)) if LINES[at].startswith("FROM ")), len(LINES))
    return LINES[start:end]


def values(name: str, instruction: str) -> list[str]:
    """Return the arguments of each occurrence of an instruction in a stage."""
    return [line.removeprefix(instruction).strip() for line in stage(name) if line.startswith(f"{instruction} ")]


def variables(name: str) -> dict[str, str]:
    """Return the variables that a stage sets, including those of the base."""
    text = " ".join([*values("base", "ENV"), *values(name, "ENV")])
    return dict(re.findall(r"(\w+)=(\S+)", text))


def exposed(name: str) -> set[int]:
    return {int(port) for line in values(name, "EXPOSE") for port in line.split()}


def test_hadolint_finds_nothing() -> None:
    run("hadolint", "Dockerfile")


@pytest.mark.parametrize("target", TARGETS)
def test_a_target_runs_as_the_numeric_user_of_the_manifests(target: str) -> None:
    (user,) = values(target, "USER")
    wanted = reading.pods("base")[target]["securityContext"]

    assert user == f"{wanted['runAsUser']}:{wanted['runAsGroup']}"


@pytest.mark.parametrize("target", TARGETS)
def test_a_target_starts_in_exec_form_below_tini(target: str) -> None:
    (entry,), (command,) = values(target, "ENTRYPOINT"), values(target, "CMD")

    assert json.loads(entry) == ["tini", "--", "resnest-service"]
    assert json.loads(command)[0] == target


@pytest.mark.parametrize("target", TARGETS)
def test_a_target_checks_its_health_with_words_that_hold_no_space(target: str) -> None:
    """Podman's API splits the arguments of a health check at spaces."""
    (check,) = values(target, "HEALTHCHECK")
    words = json.loads(check[check.index("CMD") + 3 :])

    assert words[0] not in {"sh", "bash", "curl"}
    assert [word for word in words if " " in word] == []


@pytest.mark.parametrize("target", TARGETS)
def test_a_target_exposes_the_ports_of_the_manifests(target: str) -> None:
    (container,) = reading.pods("base")[target]["containers"]

    assert exposed(target) == {port["containerPort"] for port in container["ports"]}


@pytest.mark.parametrize("target", TARGETS)
def test_a_target_says_what_it_is_and_of_which_version(target: str) -> None:
    labels = dict(re.findall(r'org\.opencontainers\.image\.(\w+)="([^"]*)"', " ".join(values(target, "LABEL"))))

    assert labels.keys() == {"title", "description", "licenses", "version", "revision"}
    assert f"ARG VERSION={__version__}" in stage(target)


def test_nothing_is_installed_without_a_hash_or_from_an_index() -> None:
    commands = [part for line in LINES if line.startswith("RUN ") for part in line.split("&&")]
    installing = [part for part in commands if re.search(r"\bpip (install|wheel)\b", part)]

    assert len(installing) == 6, installing
    assert [part for part in installing if "--require-hashes" not in part and "--no-index" not in part] == []
    assert [part for part in installing if "pip wheel" in part and "--no-build-isolation" not in part] == []


def install_torch(folder: Path, index: str, variant: str = "") -> subprocess.CompletedProcess[str]:
    """Run the worker's command that installs the libraries, with a pip that prints its arguments."""
    (command,) = [line for line in stage("worker-venv") if "TORCH_INDEX##" in line]
    pip = folder / "pip"
    pip.write_text('#!/bin/sh\necho "$@"\n', encoding="utf-8")
    pip.chmod(0o755)
    found = {"PATH": f"{folder}:{os.environ['PATH']}", "TORCH_INDEX": index, "TORCH_VARIANT": variant}
    script = re.sub(r"^RUN (--mount=\S+ )*", "", command)
    return subprocess.run(["/bin/sh", "-c", script], env=found, capture_output=True, text=True, check=False)


@pytest.mark.parametrize(
    ("index", "variant", "lock"),
    [
        ("", "", "worker"),
        ("", "cpu", "worker-cpu"),
        ("https://host/whl/cpu", "", "worker-cpu"),
        ("https://host/whl/cpu/", "", "worker-cpu"),
        ("https://host/whl/cpu//", "", "worker-cpu"),
        ("https://host/whl/cu130/", "", "worker-cu130"),
        ("https://host/mirror/", "cpu", "worker-cpu"),
    ],
)
def test_the_lock_is_that_of_the_index_whether_it_ends_in_a_slash(
    index: str, variant: str, lock: str, tmp_path: Path
) -> None:
    done = install_torch(tmp_path, index, variant)

    assert done.returncode == 0, done.stderr
    assert done.stdout.split()[-1] == f"/locks/{lock}.txt"
    assert ("--extra-index-url" in done.stdout) == bool(index)


def test_an_index_that_names_no_build_fails(tmp_path: Path) -> None:
    done = install_torch(tmp_path, "/")

    assert (done.returncode, done.stdout) == (1, "")
    assert "TORCH_INDEX=/ names no build" in done.stderr


@pytest.mark.parametrize("target", TARGETS)
def test_an_image_lists_what_it_contains_and_names_its_base(target: str) -> None:
    listing = (
        "cyclonedx-py environment --output-reproducible --output-file /opt/venv/sbom.cdx.json /opt/venv/bin/python"
    )

    assert listing in " ".join(" ".join(stage(f"{target}-venv")).split())
    assert "COPY --from=" + f"{target}-venv /opt/venv /opt/venv" in stage(target)
    assert 'org.opencontainers.image.base.name="${PYTHON_IMAGE}"' in " ".join(values(target, "LABEL"))
    assert "ARG PYTHON_IMAGE" in stage(target)


def test_the_gateway_listens_on_its_exposed_ports_on_every_interface() -> None:
    found = variables("gateway")
    (admin,) = re.findall(r"^RESNEST_ADMIN_PORT=(\d+)$", (TOP / "deploy/kubernetes/base/gateway.env").read_text(), re.M)

    assert found["RESNEST_HOST"] == "0.0.0.0"
    assert int(found["RESNEST_PORT"]) == Settings.model_fields["port"].default
    assert {int(found["RESNEST_PORT"]), int(admin)} == exposed("gateway")


@pytest.mark.parametrize("target", TARGETS)
def test_every_variable_of_the_service_is_a_setting(target: str) -> None:
    known = {f"RESNEST_{name.upper()}" for name in Settings.model_fields}

    assert {name for name in variables(target) if name.startswith("RESNEST_")} <= known


def test_the_worker_opens_every_door_on_its_exposed_ports() -> None:
    (command,) = values("worker", "CMD")

    assert {int(port) for port in re.findall(r"http://0\.0\.0\.0:(\d+)", command)} == exposed("worker")


def test_the_base_is_the_python_that_the_project_needs() -> None:
    lowest = re.search(r'requires-python = ">=(\d\.\d+)"', (TOP / "pyproject.toml").read_text(encoding="utf-8"))

    assert lowest is not None
    assert f"ARG PYTHON_IMAGE=python:{lowest[1]}-slim-bookworm" in LINES


def test_what_reaches_the_build_is_an_allow_list_of_files_that_exist() -> None:
    lines = [line for line in (TOP / ".dockerignore").read_text(encoding="utf-8").splitlines() if line[:1] != "#"]
    allowed = [line.removeprefix("!") for line in lines if line.startswith("!")]

    if not any(TOP.glob(STARTERS)):
        pytest.skip(f"no {STARTERS} is there: the starter models are not trained")

    assert lines[0] == "*"
    assert STARTERS in allowed
    assert [path for path in allowed if not any(TOP.glob(path))] == []


def test_gateway_stages_copy_no_torch_and_no_weights() -> None:
    assert not any("worker" in line for line in stage("gateway") + stage("gateway-venv"))
    assert "COPY --from=cards /srv/model_store /srv/model_store" in stage("gateway")
    assert "RUN find /srv/model_store -name '*.safetensors' -delete" in stage("cards")
