"""The engine of networks of several graphs; `tests/tasks/detection/test_head.py` compares it with the reference."""

from pathlib import Path

import numpy as np
import pytest
import torch

from service import engines
from service.engines import graph, multi_graph
from service.engines.multi_graph import MultiGraphEngine
from service.engines.openvino.conversion import ConversionError
from service.models import cards
from service.models.cards import CardError, ModelCard
from service.networks.detection.detector import Detector
from service.tasks.torch_head import GraphPart, MultiGraph
from tests.stores import serving, write_store


@pytest.fixture(scope="module")
def card(tmp_path_factory: pytest.TempPathFactory) -> ModelCard:
    return cards.read(write_store(tmp_path_factory.mktemp("store"), "tiny-detector") / "tiny-detector")


@pytest.fixture(scope="module")
def classifier(tmp_path_factory: pytest.TempPathFactory) -> ModelCard:
    return cards.read(write_store(tmp_path_factory.mktemp("other"), "tiny-classifier") / "tiny-classifier")


def test_the_images_go_through_the_graphs_one_by_one() -> None:
    seen: list[tuple[int, ...]] = []

    def run(graphs: object, image: torch.Tensor) -> dict[str, torch.Tensor]:
        seen.append(tuple(image.shape))
        return {"rows": image.float().mean(dim=(1, 2))[0, : int(image[0, 0, 0, 0])]}

    network = MultiGraph({"part": GraphPart(torch.nn.Identity(), (1,), (0,))}, run)
    images = np.stack([np.full((4, 6, 3), level, np.uint8) for level in (1, 3, 0)])
    found = MultiGraphEngine(network, {}, torch.device("cpu"))(images)
    assert seen == [(1, 4, 6, 3)] * 3
    assert [rows.tolist() for rows in found["rows"]] == [[1], [3, 3, 3], []]


@pytest.mark.parametrize("engine", ["torch", "openvino", "auto"])
def test_a_card_names_the_engine_of_its_graphs(card: ModelCard, engine: str, tmp_path: Path) -> None:
    loaded = engines.load(serving(card, engine=engine), "cpu")

    assert isinstance(loaded, MultiGraphEngine)
    assert engines.runtime_of(loaded) == ("torch" if engine == "torch" else "openvino", "cpu")


def test_where_openvino_refuses_a_graph_pytorch_runs_all_of_them(card: ModelCard) -> None:
    def refusing(_card: ModelCard, _device: str) -> engines.Engine:
        raise ConversionError("no such operation")

    assert isinstance(engines.on_cpu(card, refusing), MultiGraphEngine)


def test_int8_is_refused(card: ModelCard) -> None:
    for engine in ("torch", "openvino"):
        with pytest.raises(CardError, match="int8"):
            engines.load(serving(card, precision="int8", engine=engine), "cpu")


def test_a_network_of_one_graph_has_no_parts(classifier: ModelCard) -> None:
    with pytest.raises(TypeError, match="single graphs"):
        multi_graph.of_card(classifier, torch.nn.Identity(), torch.device("cpu"))


def test_the_graphs_have_no_batchnorm_left(card: ModelCard) -> None:
    network = graph.build(card, multi_graph.FORM).network
    assert isinstance(network, Detector)
    assert not [module for module in network.modules() if isinstance(module, torch.nn.BatchNorm2d)]


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
def test_cuda_finds_the_same_objects(card: ModelCard) -> None:
    image = np.random.default_rng(0).integers(0, 256, (1, 96, 128, 3), np.uint8)
    first, second = (multi_graph.load(card, device)(image) for device in ("cpu", "cuda"))
    np.testing.assert_allclose(first["boxes"][0], second["boxes"][0], atol=1e-3)
