"""A control plane for the tests with the marker `cluster`, and the fleets whose scaling is observed meanwhile."""

import os
from collections.abc import Iterator

import pytest

from tests.cluster import control_plane, metrics_api, scaling_runs, shipped
from tests.cluster.fleet import Cluster, Deployed, Fleet


@pytest.fixture(scope="session")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    """Run a control plane. Skip the test where its programs are not built, or fail it on CI."""
    if missing := control_plane.missing():
        reason = f"no {', '.join(missing)} in build/control-plane; .ci/control-plane.sh builds them (10 min)"
        (pytest.fail if os.environ.get("CI") == "true" else pytest.skip)(reason)
    folder = tmp_path_factory.mktemp("control-plane")
    certificate = control_plane.Certificate.make(folder)
    fleets: dict[str, Deployed] = {}
    with (
        metrics_api.served(fleets, certificate) as port,
        control_plane.running(folder, certificate, port) as api,
        Cluster(api, fleets, folder / control_plane.KUBECONFIG) as cluster,
    ):
        yield cluster


@pytest.fixture(scope="session")
def scaled(cluster: Cluster, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Fleet]:
    """Deploy and load the fleets of all scaling runs. They go on while other tests run."""
    folder = tmp_path_factory.mktemp("sized")
    fleets = {run.name: scaling_runs.deploy(cluster, run, folder) for run in scaling_runs.RUNS}
    shipped.start(cluster, *fleets.values())
    return fleets
