"""Every model card: its network, a checkpoint of its layout, its archive, and an answer from a real TorchServe."""

from pathlib import Path

import pytest

from tests.e2e.test_zoo import check
from tests.e2e.zoo import ZOO
from tests.networks import timm_alone

pytestmark = [pytest.mark.stress, pytest.mark.timeout(1800)]


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
    check(tmp_path / "store", tmp_path, name)
