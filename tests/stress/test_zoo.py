"""Every model card: its network, a checkpoint of its layout, its archive, and an answer from a real TorchServe."""

from pathlib import Path

import pytest

from service.host.processes import free_port
from service.tasks import task_of
from tests.e2e.running import running
from tests.e2e.test_answers import post, upload
from tests.networks import timm_alone
from tests.stress.zoo import ZOO, import_made

pytestmark = [pytest.mark.stress, pytest.mark.timeout(1800)]

LARGE_START_S = 600.0  # ResNet-RS-420 has 768 MB to compile, and the machine is shared


@pytest.mark.parametrize("name", ZOO)
def test_a_card_is_served_with_weights_of_its_published_layout(
    tmp_path: Path, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Use an input of 64 pixels, to save time.

    If torchvision is not installed, the workers get a stand-in for it, for the networks of timm.
    """
    if ZOO[name].network.library == "timm":
        timm_alone.load()
        monkeypatch.setenv("PYTHONPATH", timm_alone.python_path())
    store = tmp_path / "store"
    import_made(store, name, tmp_path)
    with running(store, tmp_path / "run", free_port(), "--start-timeout", f"{LARGE_START_S}") as service:
        service.await_ready(LARGE_START_S)
        answer = post(service, task_of(ZOO[name]).endpoints[0].path, upload(3), model=name)
        assert answer.status_code == 200, (name, answer.text)
        (result,) = answer.json()["results"]
        assert answer.json()["model"]["name"] == name
        labels = {label.label for label in ZOO[name].classes}
        found = result.get("predictions") or result.get("segments") or result.get("detections")
        assert found or task_of(ZOO[name]).name == "detection"  # random weights may find nothing
        assert {each["label"] for each in found or ()} <= labels
        assert service.end() == 0
