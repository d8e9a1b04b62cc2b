"""The API server itself accepts every overlay, and every combination of components, and drops no field of them."""

import json
from collections.abc import Iterator
from itertools import combinations, product

import pytest

from tests.cluster import shipped
from tests.cluster.fleet import Cluster
from tests.cluster.kubernetes_api import ApiError
from tests.cluster.lowering import FOREIGN
from tests.deploy.reading import OVERLAYS
from tests.deploy.test_components import ALTERNATIVES, COMPONENTS, NEEDS, together

pytestmark = [pytest.mark.cluster, pytest.mark.usefixtures("scaled"), pytest.mark.timeout(900)]

Chosen = tuple[str, tuple[str, ...]]


def chosen() -> Iterator[Chosen]:
    """Yield each overlay, and the base with each component, each pair of them, and all, with those that they need."""
    yield from ((overlay, ()) for overlay in OVERLAYS)
    for names in (*((name,) for name in COMPONENTS), *combinations(COMPONENTS, 2), *all_but_alternatives()):
        needed = together(names)
        if not any(len(alternatives & {*needed}) > 1 for alternatives in ALTERNATIVES):
            yield "base", needed


def all_but_alternatives() -> Iterator[list[str]]:
    """Yield all components but those to which the others are alternatives, and but those that need one of these."""
    for kept in map(frozenset, product(*map(sorted, ALTERNATIVES))):
        if any(len(alternatives & kept) > 1 for alternatives in ALTERNATIVES):
            continue
        left_out = frozenset[str]().union(*ALTERNATIVES) - kept
        yield [name for name in COMPONENTS if not left_out & {name, *NEEDS.get(name, ())}]


@pytest.fixture(scope="module", autouse=True)
def namespace(cluster: Cluster) -> None:
    cluster.api.create({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "resnest"}})


def test_the_server_accepts_every_overlay_and_every_pair_of_components(cluster: Cluster) -> None:
    checked: set[str] = set()
    for overlay, components in dict.fromkeys(chosen()):
        for manifest in shipped.manifests("resnest", overlay, components):
            text = json.dumps(manifest, sort_keys=True)
            if manifest["kind"] in {*FOREIGN, "Namespace"} or text in checked:
                continue
            cluster.create(manifest, dry_run=True)
            checked.add(text)

    assert len(checked) > 50


def test_the_server_rejects_what_no_schema_finds(cluster: Cluster) -> None:
    deployment = shipped.one(shipped.manifests("resnest"), "Deployment", "worker")
    deployment["spec"]["selector"]["matchLabels"] = {"app.kubernetes.io/name": "other"}

    with pytest.raises(ApiError, match="does not match template"):
        cluster.create(deployment, dry_run=True)


def test_a_field_that_the_server_does_not_know_fails_the_test(cluster: Cluster) -> None:
    deployment = shipped.one(shipped.manifests("resnest"), "Deployment", "worker")
    (box,) = deployment["spec"]["template"]["spec"]["containers"]
    box["resizePolicy"] = [{"resourceName": "cpu", "restartPolicy": "NotRequired"}]

    with pytest.raises(AssertionError, match=r"containers\[0\]\.resizePolicy"):
        cluster.create(deployment, dry_run=True)
