"""The component is one that kustomize reads; tests/deploy renders it on the manifests."""

import json
from pathlib import Path

import yaml

from service.measure.capacity import component
from service.measure.capacity.sizing import Sizing


def test_the_most_gateways_are_left_as_they_are_where_they_are_not_known(tmp_path: Path) -> None:
    component.write(tmp_path / "a/b", Sizing(3, 70, 64, None), 8, "hpa", "What was measured.")
    text = (tmp_path / "a/b/kustomization.yaml").read_text(encoding="utf-8")
    (patch,) = yaml.safe_load(text)["patches"]

    assert text.startswith("# What was measured.\n")
    assert json.loads(patch["patch"])["metadata"]["name"] == "worker"
