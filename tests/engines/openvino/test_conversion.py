"""OpenVINO models before compilation."""

import hashlib
from pathlib import Path

import pytest
from torch import Tensor, nn

from service.engines import graph
from service.engines.openvino import conversion
from service.engines.openvino.conversion import ConversionError
from service.models import cards
from service.models.cards import CardError, Int8
from tests.stores import serving, write_store


@pytest.mark.parametrize(("name", "shape"), [("tiny-classifier", "[?,64,64,3]"), ("tiny-segmenter", "[?,?,?,3]")])
def test_the_batch_is_free_and_a_segmenters_sides_are_too(store: Path, name: str, shape: str) -> None:
    model = conversion.load_model(cards.read(store / name))
    assert str(model.input(0).get_partial_shape()) == shape
    assert model.input(0).get_element_type().get_type_name() == "u8"


def test_a_network_with_several_outputs_is_refused(store: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    class Two(nn.Module):
        def forward(self, images: Tensor) -> tuple[Tensor, Tensor]:
            return images.float().mean((1, 2, 3)), images.float().amax((1, 2, 3))

    monkeypatch.setattr(graph, "build", lambda _card: Two())
    with pytest.raises(ConversionError, match="tiny-classifier: the network has 2 outputs"):
        conversion.load_model(cards.read(store / "tiny-classifier"))


def test_an_int8_file_that_holds_no_network_is_told(tmp_path: Path) -> None:
    card = cards.read(write_store(tmp_path, "tiny-classifier", weights=False) / "tiny-classifier")
    (card.folder / "int8.zip").write_bytes(b"nothing")
    form = Int8(file="int8.zip", sha256=hashlib.sha256(b"nothing").hexdigest(), made_of=str(card.checksum))
    with pytest.raises(CardError, match="its int8 file cannot be read"):
        conversion.load_model(serving(card.model_copy(update={"int8": form}), precision="int8"))
