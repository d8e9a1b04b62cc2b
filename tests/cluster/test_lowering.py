"""Manifests are lowered by rules that are written down, and what a server drops is found."""

from typing import Any

import pytest

from tests.cluster.lowering import UnknownToServerError, dropped, lowered


def manifest(version: str, kind: str, spec: Any) -> dict[str, Any]:
    return {"apiVersion": version, "kind": kind, "metadata": {"name": "one"}, "spec": spec}


@pytest.mark.parametrize(
    ("version", "kind"),
    [("autoscaling/v3", "HorizontalPodAutoscaler"), ("apps/v1", "StatefulSet"), ("keda.sh/v1alpha1", "ScaledObject")],
)
def test_a_version_or_kind_without_a_rule_is_an_error(version: str, kind: str) -> None:
    with pytest.raises(UnknownToServerError, match=f"{version} {kind} one"):
        lowered(manifest(version, kind, {}))


def test_a_version_is_lowered_and_only_the_fields_of_a_rule_are_removed() -> None:
    budget = manifest("policy/v1", "PodDisruptionBudget", {"maxUnavailable": 1, "unhealthyPodEvictionPolicy": "x"})

    found = lowered(budget)

    assert (found["apiVersion"], found["spec"]) == ("policy/v1beta1", {"maxUnavailable": 1})
    assert budget["spec"]["unhealthyPodEvictionPolicy"] == "x", "the manifest itself stays"


def test_an_image_as_a_volume_is_the_empty_folder_that_an_old_server_makes_of_it() -> None:
    volumes = [
        {"name": "models", "image": {"reference": "a@sha256:1"}},
        {"name": "tmp", "emptyDir": {"sizeLimit": "1Gi"}},
    ]

    found = lowered(manifest("apps/v1", "Deployment", {"template": {"spec": {"volumes": volumes}}}))

    assert found["spec"]["template"]["spec"]["volumes"] == [{"name": "models", "emptyDir": {}}, volumes[1]]


@pytest.mark.parametrize(
    ("sent", "answered", "found"),
    [
        ({"a": 1}, {"a": 1, "b": 2}, []),
        ({"a": {"b": 1, "c": 2}}, {"a": {"b": 1}}, [".a.c"]),
        ({"a": [{"b": 1}]}, {"a": [{}]}, [".a[0].b"]),
        ({"a": [1, 2]}, {"a": [1]}, [".a"]),
        ({"cpu": "1000m", "memory": "1024Mi"}, {"cpu": "1", "memory": "1Gi"}, []),
        ({"cpu": "2"}, {"cpu": "1"}, [".cpu"]),
        (
            {"volumes": [{"name": "a", "image": {"reference": "b"}}]},
            {"volumes": [{"name": "a"}]},
            [".volumes[0].image"],
        ),
        ({"emptyDir": {}}, {}, []),
        ({"podSelector": {}}, {"podSelector": None}, []),
        ({"a": False}, {}, [".a"]),
    ],
)
def test_a_field_that_the_server_drops_or_changes_is_found(sent: Any, answered: Any, found: list[str]) -> None:
    assert [*dropped(sent, answered)] == found
