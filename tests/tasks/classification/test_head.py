"""The torch code of classification, on a network with random weights."""

from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest
import torch

from service.engines import eager, torch_cpu
from service.models import cards
from service.models.calibration import Calibration
from service.models.cards import CardError
from service.networks import build
from service.networks.split_attention import SplitAttentionConv2d
from service.tasks.classification import head

Pixels = npt.NDArray[np.uint8]


def test_a_segmenter_is_not_for_classification(store: Path) -> None:
    card = cards.read(store / "tiny-classifier")
    with torch.device("meta"):
        classifier, segmenter = build("resnest14", 7), build("fcn_resnest14", 7)

    head.check(card, classifier)
    with pytest.raises(CardError, match="is not for classification"):
        head.check(card, segmenter)


def test_the_embedding_is_what_the_last_layer_sees(store: Path, images: Pixels) -> None:
    card = cards.read(store / "tiny-classifier")
    loaded = eager.load(card, "cpu")
    found = loaded("embed", images)["embedding"]
    assert found.shape == (len(images), 2048)
    assert found.dtype == np.float32
    with torch.no_grad():
        scores = loaded._loaded.network.get_submodule("fc")(torch.from_numpy(found)).softmax(dim=1)
    np.testing.assert_allclose(scores, torch_cpu.load(card, "cpu")(images)["scores"], atol=1e-4)


def test_a_logit_is_its_maps_mean_and_its_bias(store: Path, images: Pixels) -> None:
    card = cards.read(store / "tiny-classifier")
    found = eager.load(card, "cpu")("explain", images)
    assert found["maps"].shape == (len(images), 7, 2, 2)
    logits = found["maps"].mean(axis=(2, 3)) + found["bias"]
    scores = torch.from_numpy(logits).softmax(dim=1)
    np.testing.assert_allclose(scores, torch_cpu.load(card, "cpu")(images)["scores"], atol=1e-4)
    np.testing.assert_allclose(found["scores"], scores, atol=1e-5)


def test_the_splits_of_each_block_are_weighed_to_one(store: Path, images: Pixels) -> None:
    loaded = eager.load(cards.read(store / "tiny-classifier"), "cpu")
    found = loaded("explain", images)
    assert found["splits"].shape == found["spread"].shape == (len(images), 4, 2)
    np.testing.assert_allclose(found["splits"].sum(axis=2), 1, atol=1e-5)
    assert found["stage"].tolist() == [[1, 2, 3, 4]] * len(images)
    assert len({tuple(row.ravel().round(5)) for row in found["splits"]}) == len(images)
    blocks = [each for each in loaded._loaded.network.modules() if isinstance(each, SplitAttentionConv2d)]
    assert not any(block.rsoftmax._forward_hooks for block in blocks)


def test_a_calibration_changes_the_scores_alike_in_prediction_and_explanation(store: Path, images: Pixels) -> None:
    plain = cards.read(store / "tiny-classifier")
    calibration = Calibration(temperature=0.25, min_logit=0.0, made_of=str(plain.checksum))
    card = plain.model_copy(update={"calibration": calibration})

    found, explained = torch_cpu.load(card, "cpu")(images), eager.load(card, "cpu")("explain", images)

    logits = torch.from_numpy(explained["maps"].mean(axis=(2, 3)) + explained["bias"])
    np.testing.assert_allclose(found["scores"], (logits / 0.25).softmax(dim=1), atol=1e-3)
    np.testing.assert_allclose(explained["scores"], found["scores"], atol=1e-3)
    np.testing.assert_allclose(found["max_logit"], logits.amax(dim=1, keepdim=True), atol=1e-3)
    np.testing.assert_allclose(explained["max_logit"], found["max_logit"], atol=1e-3)
    assert "max_logit" not in torch_cpu.load(plain, "cpu")(images)
