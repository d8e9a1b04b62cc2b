"""Published models, from a checkpoint of their layout to an answer from a real TorchServe; tests/stress tests all."""

from pathlib import Path

import pytest

from service.host.processes import free_port
from service.tasks import task_of
from tests.e2e.running import running
from tests.e2e.test_answers import post, upload
from tests.e2e.zoo import ZOO, import_made

pytestmark = pytest.mark.e2e

# A small model of each layout: a plain checkpoint, timm's keys, a zip file of PyTorch-Encoding.
FEW = ("resnest14", "resnet50d", "fcn_resnest50_pcontext", "mmdet_mask_rcnn_resnet50")
LARGE_START_S = 600.0  # ResNet-RS-420 has 768 MB to compile, and the machine is shared


def check(store: Path, folder: Path, *names: str) -> None:
    """Import each model with weights of its layout, serve all of them together, and send an image to each."""
    for name in names:
        import_made(store, name, folder)
    with running(store, folder / "run", free_port(), "--start-timeout", f"{LARGE_START_S}") as service:
        service.await_ready(LARGE_START_S)
        for name in names:
            route = task_of(ZOO[name]).endpoints[0].path
            answer = post(service, route, upload(3), model=name)
            assert answer.status_code == 200, (name, answer.text)
            (result,) = answer.json()["results"]
            assert answer.json()["model"]["name"] == name
            labels = {label.label for label in ZOO[name].classes}
            found = result.get("predictions") or result.get("segments") or result.get("detections")
            assert found or task_of(ZOO[name]).name == "detection"  # random weights may find nothing
            assert {each["label"] for each in found or ()} <= labels
        assert service.end() == 0


@pytest.mark.timeout(900)
def test_a_published_file_of_each_layout_is_imported_served_and_answers(tmp_path: Path) -> None:
    check(tmp_path / "store", tmp_path, *FEW)
