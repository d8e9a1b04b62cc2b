"""Every card: its network, a checkpoint of its layout, its archive, and an answer through a real TorchServe."""

import importlib.util
from pathlib import Path

import pytest

from tests.e2e.test_zoo import check
from tests.e2e.zoo import ZOO

pytestmark = [pytest.mark.stress, pytest.mark.timeout(1800)]

NEEDS_TORCHVISION = pytest.mark.skipif(
    importlib.util.find_spec("torchvision") is None,
    reason="timm's own networks are served with torchvision, which is not here; tests/test_zoo.py builds them",
)


@pytest.mark.parametrize(
    "name",
    [
        pytest.param(name, marks=NEEDS_TORCHVISION if card.network.library == "timm" else ())
        for name, card in ZOO.items()
    ],
)
def test_a_card_is_served_with_weights_of_its_published_layout(tmp_path: Path, name: str) -> None:
    """On an input of 64 pixels: what its size costs is not asked here."""
    check(tmp_path / "store", tmp_path, name)
