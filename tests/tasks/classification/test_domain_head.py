"""The domain head: its score against the definition, its file, and its use in every engine's outputs."""

from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest
import torch
from safetensors.torch import save

from service.engines import eager, torch_cpu
from service.engines.openvino import engine as openvino_engine
from service.engines.openvino.compile_cache import CompileCache
from service.models import cards
from service.models.cards import CardError
from service.tasks.classification.domain_head import DomainHead
from tests.stores import add_domain, write_store

Pixels = npt.NDArray[np.uint8]


def test_the_score_is_the_log_odds_of_the_known_rows() -> None:
    random = np.random.default_rng(5)
    weight, bias, features = random.normal(size=(4, 6)), random.normal(size=4), random.normal(size=(9, 6))

    score = DomainHead(torch.from_numpy(weight), torch.from_numpy(bias)).score(torch.from_numpy(features))

    powers = np.exp(features @ weight.T + bias)
    shares = powers[:, 1:].sum(axis=1) / powers.sum(axis=1)
    np.testing.assert_allclose(score[:, 0], np.log(shares / (1 - shares)), atol=1e-4)


def test_a_file_gives_the_head_back() -> None:
    head = DomainHead(torch.randn(2, 5), torch.randn(2))

    found = DomainHead.parse(head.file())

    assert torch.equal(found.weight, head.weight)
    assert torch.equal(found.bias, head.bias)


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"not a file",
        save({"weight": torch.zeros(2, 3)}),
        save({"weight": torch.zeros(1, 3), "bias": torch.zeros(1)}),
        save({"weight": torch.zeros(2, 3), "bias": torch.zeros(3)}),
    ],
)
def test_a_file_without_a_head_is_an_error(content: bytes) -> None:
    with pytest.raises(CardError, match="not the file of a domain score"):
        DomainHead.parse(content)


@pytest.fixture
def own_store(tmp_path: Path) -> Path:
    """Return a store whose classifier has a domain score."""
    folder = write_store(tmp_path, "tiny-classifier")
    add_domain(folder / "tiny-classifier")
    return folder


@pytest.mark.parametrize("engine", ["torch", "openvino"])
def test_an_engine_returns_the_score_of_the_features_that_embed_returns(
    engine: str, own_store: Path, images: Pixels, tmp_path: Path
) -> None:
    card = cards.read(own_store / "tiny-classifier")
    plain = card.model_copy(update={"calibration": None})
    if engine == "torch":
        found, without = torch_cpu.load(card, "cpu")(images), torch_cpu.load(plain, "cpu")(images)
    else:
        cache = CompileCache(tmp_path / "cache")
        exact = {"serving": card.serving.model_copy(update={"precision": "fp32"})}
        without = openvino_engine.load(plain.model_copy(update=exact), cache=cache)(images)
        found = openvino_engine.load(card.model_copy(update=exact), cache=cache)(images)

    operations = eager.load(card, "cpu")
    features = torch.from_numpy(operations("embed", images)["embedding"])
    assert card.calibration
    assert card.calibration.domain
    head = DomainHead.parse((card.folder / card.calibration.domain.file).read_bytes())
    np.testing.assert_allclose(found["domain_score"], head.score(features), atol=1e-3)
    np.testing.assert_allclose(operations("explain", images)["domain_score"], head.score(features), atol=1e-3)
    np.testing.assert_allclose(found["scores"], without["scores"], atol=1e-4)
    assert set(without) == {"scores"}
    assert len(set(found["domain_score"][:, 0].tolist())) == len(images)


def test_a_head_for_other_features_is_an_error(tmp_path: Path, images: Pixels) -> None:
    folder = write_store(tmp_path, "tiny-classifier") / "tiny-classifier"
    add_domain(folder, features=100)

    with pytest.raises(CardError, match="takes 100 features, and the network returns 2048"):
        torch_cpu.load(cards.read(folder), "cpu")(images)
