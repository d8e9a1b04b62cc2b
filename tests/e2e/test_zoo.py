"""Published models, from a file of their layout to an answer through a real TorchServe; tests/stress has them all."""

from pathlib import Path

import pytest

from service.host.processes import free_port
from tests.e2e.running import running
from tests.e2e.test_answers import post, upload
from tests.e2e.zoo import ZOO, import_made

pytestmark = pytest.mark.e2e

# One of each form and layout, small ones: a bare checkpoint, timm's keys, a zip of PyTorch-Encoding's.
FEW = ("resnest14", "resnet50d", "fcn_resnest50_pcontext")
LARGE_START_S = 600.0  # ResNet-RS-420 has 768 MB to be compiled, and the machine others at work


def check(store: Path, folder: Path, *names: str) -> None:
    """Import each with weights of its layout, serve them together, and ask each."""
    for name in names:
        import_made(store, name, folder)
    with running(store, folder / "run", free_port(), "--start-timeout", f"{LARGE_START_S}") as service:
        service.await_ready(LARGE_START_S)
        for name in names:
            route = {"classification": "/v1/classify", "segmentation": "/v1/segment"}[ZOO[name].task]
            answer = post(service, route, upload(3), model=name)
            assert answer.status_code == 200, (name, answer.text)
            (result,) = answer.json()["results"]
            assert answer.json()["model"]["name"] == name
            labels = {label.label for label in ZOO[name].classes}
            told = result.get("predictions") or result["segments"]
            assert told
            assert {each["label"] for each in told} <= labels
        assert service.end() == 0


@pytest.mark.timeout(900)
def test_a_published_file_of_each_layout_is_imported_served_and_answers(tmp_path: Path) -> None:
    check(tmp_path / "store", tmp_path, *FEW)
