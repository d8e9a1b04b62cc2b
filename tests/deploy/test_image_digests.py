"""Images by digest. The program asks registries through skopeo, for which a script stands: no registry is at hand."""

import os
import re
from pathlib import Path

import pytest
import yaml
from click.testing import CliRunner

from deploy.kubernetes import image_digests
from tests.deploy import reading
from tests.deploy.programs import program, run

# Answers the checksum of the image's name, as a registry answers that of its content.
SKOPEO = """#!/bin/sh
for word in "$@"; do image=$word; done
case "$image" in
*grafana*) %s ;;
esac
echo "sha256:$(printf %%s "$image" | sha256sum | cut -d' ' -f1)"
"""


def write_skopeo(folder: Path, special: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Write a program `skopeo` that does something special for Grafana's image."""
    script = folder / "skopeo"
    script.write_text(SKOPEO % special, encoding="utf-8")
    script.chmod(0o755)
    kustomize = Path(program("kustomize")).parent
    monkeypatch.setenv("PATH", os.pathsep.join([str(folder), str(kustomize), os.environ["PATH"]]))


def invoke(into: Path, overlay: str = "overlays/gpu") -> tuple[int, str]:
    done = CliRunner().invoke(image_digests.main, [str(reading.KUBERNETES / overlay), str(into)])
    return done.exit_code, done.output


@pytest.mark.parametrize("overlay", ["overlays/gpu", "overlays/local"])
def test_with_the_component_every_image_of_an_overlay_is_one_that_nobody_can_change(
    overlay: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_skopeo(tmp_path, ":", monkeypatch)

    assert invoke(tmp_path / "digests", overlay) == (0, "")

    document = {
        "resources": [os.path.relpath(reading.KUBERNETES / overlay, tmp_path.resolve())],
        "components": ["digests"],
    }
    (tmp_path / "kustomization.yaml").write_text(yaml.safe_dump(document), encoding="utf-8")
    manifests = [*yaml.safe_load_all(run("kustomize", "build", tmp_path))]
    names = [name for manifest in manifests for name in image_digests.images(manifest)]
    assert len(names) >= 4
    assert all(re.fullmatch(r"[\w./-]+@sha256:[0-9a-f]{64}", name) for name in names), names
    assert len({name.partition("@")[2] for name in names}) == len(set(names)), "each has the digest of its own tag"


@pytest.mark.parametrize(
    ("special", "reason"),
    [("echo no such manifest >&2; exit 1", "no such manifest"), ("echo latest; exit 0", "is no digest")],
)
def test_an_image_that_no_registry_has_is_named_and_nothing_is_written(
    special: str, reason: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_skopeo(tmp_path, special, monkeypatch)

    code, output = invoke(tmp_path / "digests")

    assert code == 1
    assert "grafana/grafana" in output
    assert reason in output
    assert not (tmp_path / "digests").exists()


def test_an_image_of_a_registry_with_a_port_gets_its_digest(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_skopeo(tmp_path, ":", monkeypatch)
    own = tmp_path / "own"
    own.mkdir()
    document = {
        "resources": [os.path.relpath(reading.KUBERNETES / "base", own.resolve())],
        "images": [
            {"name": name, "newName": f"registry.example:5000/{name}"} for name in ("resnest-gateway", "resnest-worker")
        ],
    }
    (own / "kustomization.yaml").write_text(yaml.safe_dump(document), encoding="utf-8")

    assert invoke(own / "digests", str(own)) == (0, "")
    (own / "kustomization.yaml").write_text(yaml.safe_dump({**document, "components": ["digests"]}), encoding="utf-8")
    top = tmp_path / "kustomization.yaml"
    top.write_text(yaml.safe_dump({"resources": ["own"], "components": ["own/digests"]}), encoding="utf-8")

    found = [*yaml.safe_load_all(run("kustomize", "build", tmp_path))]
    names = {name for manifest in found for name in image_digests.images(manifest)}
    assert all(re.fullmatch(r"registry\.example:5000/[\w-]+@sha256:[0-9a-f]{64}", name) for name in names), names
    assert len(names) == 2


def test_an_image_with_two_tags_is_refused_since_both_would_get_one_digest(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As a gateway and its canary."""
    write_skopeo(tmp_path, ":", monkeypatch)
    document = {
        "resources": [os.path.relpath(reading.KUBERNETES / "base", tmp_path.resolve())],
        "components": [
            os.path.relpath(reading.KUBERNETES / "components" / name, tmp_path.resolve())
            for name in ("gateway-api", "canary")
        ],
        "images": [{"name": "resnest-gateway-canary", "newName": "resnest-gateway", "newTag": "0.2.0"}],
    }
    (tmp_path / "kustomization.yaml").write_text(yaml.safe_dump(document), encoding="utf-8")

    code, output = invoke(tmp_path / "digests", str(tmp_path))

    assert (code, "resnest-gateway has several tags" in output) == (1, True), output
    assert not (tmp_path / "digests").exists()
