"""The torch code of detection, compared with the reference network on the same prepared image."""

from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest
import safetensors.torch
import torch
from torch import Tensor
from torch.nn import functional

from service import networks
from service.engines import multi_graph
from service.engines.graph import Normalise
from service.imaging import decoder, preprocess
from service.models import cards
from service.models.cards import CardError, ModelCard
from service.networks.detection.detector import Detector, ImageGeometry, Instances
from service.tasks.detection import head
from service.tasks.detection.scoring import compare
from service.tasks.torch_head import MultiGraph
from tests.stores import serving, write_store

Pixels = npt.NDArray[np.uint8]
STORE = Path(__file__).parents[3] / "model_store"
SIDES = [(96, 128), (85, 128), (33, 128), (96, 97)]


@pytest.fixture(scope="module")
def card(tmp_path_factory: pytest.TempPathFactory) -> ModelCard:
    store = write_store(tmp_path_factory.mktemp("store"), "tiny-detector")
    return cards.read(store / "tiny-detector")


def pixels(height: int, width: int, seed: int = 0) -> Pixels:
    coarse = np.random.default_rng(seed).integers(0, 256, (-(-height // 8), -(-width // 8), 3), np.uint8)
    return coarse.repeat(8, axis=0).repeat(8, axis=1)[:height, :width]


def reference(card: ModelCard, image: Pixels) -> Instances:
    """Return what the network of the card finds, in pixels of the image, by a direct computation."""
    network = networks.build(card.network.name, card.network.classes)
    assert isinstance(network, Detector)
    network.load_state_dict(safetensors.torch.load_file(card.weights_path), strict=False)
    scaled = torch.from_numpy(image).permute(2, 0, 1)[None].float() / 255
    mean, std = (torch.tensor(each).view(1, 3, 1, 1) for each in (card.input.mean, card.input.std))
    height, width = image.shape[:2]
    padded = functional.pad((scaled - mean) / std, (0, -width % 32, 0, -height % 32))
    with torch.no_grad():
        found: Instances = network.eval()(padded, ImageGeometry((height, width), (height, width)), 30)
    return found


@pytest.mark.parametrize("sides", SIDES, ids=str)
def test_an_image_gets_the_detections_of_the_reference_network(card: ModelCard, sides: tuple[int, int]) -> None:
    image = pixels(*sides)
    expected = reference(card, image)
    found = {name: rows[0] for name, rows in multi_graph.load(card, "cpu")(image[None]).items()}
    boxes, scores, class_ids = expected.detections
    height, width = sides
    assert len(scores) > 3
    assert found["class_ids"].tolist() == class_ids.tolist()
    np.testing.assert_allclose(found["scores"], scores, atol=1e-3)
    np.testing.assert_allclose(found["boxes"] * [width, height, width, height], boxes, atol=0.01)
    assert expected.masks is not None
    assert np.abs(found["masks"] / 255 - expected.masks.numpy()).max() < 0.01


def test_no_image_changes_the_detections_of_another(card: ModelCard) -> None:
    images = np.stack([pixels(96, 128, seed) for seed in range(3)])
    engine = multi_graph.load(card, "cpu")
    together = engine(images)
    assert len({tuple(rows.tolist()) for rows in together["scores"]}) == 3
    for index, image in enumerate(images):
        for name, rows in engine(image[None]).items():
            np.testing.assert_array_equal(rows[0], together[name][index])


def test_fewer_proposals_leave_the_best_ones(card: ModelCard) -> None:
    image = pixels(96, 128)[None]
    one = card.model_copy(update={"network": card.network.model_copy(update={"proposals": 1})})
    assert len(multi_graph.load(one, "cpu")(image)["scores"][0]) <= 2  # one region, of two classes
    assert len(multi_graph.load(card, "cpu")(image)["scores"][0]) > 2


def test_bfloat16_finds_the_objects_of_single_precision() -> None:
    """Measured with trained weights: the scores of made ones are all near one another."""
    trained = serving(cards.read(STORE / "starter-detector"), precision="fp32")
    decoded = decoder.decode((STORE / "example.jpg").read_bytes(), decoder.ImageLimits())
    image = preprocess.prepare(trained.input, decoded.image)[None]
    exact = multi_graph.load(trained, "cpu")(image)
    half = multi_graph.load(serving(trained, precision="bf16"), "cpu")(image)
    assert half["boxes"][0].dtype == np.float32
    found = compare(half, exact)
    assert len(found.same) >= 2
    assert found.same.all()
    assert 0 < found.differences.max() < 0.02
    assert np.abs(half["boxes"][0][0] - exact["boxes"][0][0]).max() < 0.02


def composed(card: ModelCard) -> MultiGraph:
    network = networks.build(card.network.name, card.network.classes).eval()
    return head.multi_graph(card, network, Normalise(card.input.mean, card.input.std))


def test_a_graph_that_returns_nan_is_an_error_and_no_empty_image(card: ModelCard) -> None:
    found = composed(card)
    graphs = {name: part.module for name, part in found.parts.items()}

    def broken(given: Tensor) -> tuple[Tensor, ...]:
        return tuple(each * torch.nan for each in graphs["trunk"](given))

    with torch.no_grad(), pytest.raises(ArithmeticError, match="region proposals are not finite"):
        found.run({**graphs, "trunk": broken}, torch.zeros(1, 64, 64, 3))


def test_a_cascade_has_a_graph_for_each_stage(card: ModelCard) -> None:
    with torch.device("meta"):
        network = networks.build("mmdet_cascade_mask_rcnn_resnest50", 2)
    parts = head.multi_graph(card, network, torch.nn.Identity()).parts
    kinds = [f"{kind}_head_{stage}" for kind in ("box", "mask") for stage in range(3)]
    assert list(parts) == ["trunk", *kinds]


@pytest.mark.parametrize(("network", "right"), [("mmdet_mask_rcnn_resnest50", "opencv_linear"), (None, "bilinear")])
def test_a_card_whose_images_are_resized_otherwise_than_in_training_is_refused(
    card: ModelCard, network: str | None, right: str
) -> None:
    name = network or card.network.name
    with torch.device("meta"):
        built = networks.build(name, 2)
    for interpolation in ("bicubic", "bilinear", "opencv_linear"):
        spec = card.input.model_copy(update={"interpolation": interpolation})
        named = card.model_copy(update={"input": spec, "network": card.network.model_copy(update={"name": name})})
        if interpolation == right:
            head.check(named, built)
            continue
        with pytest.raises(CardError, match=f'resized by "{right}"; set interpolation'):
            head.check(named, built)


def test_a_network_of_another_task_is_refused(card: ModelCard) -> None:
    with torch.device("meta"):
        classifier, detector = networks.build("resnest14", 2), networks.build("faster_rcnn_resnest50", 2)
    with pytest.raises(CardError, match="is not for detection"):
        head.check(card, classifier)
    with pytest.raises(CardError, match="mask_rcnn"):
        head.check(card, detector)
    with pytest.raises(CardError):
        head.postprocess(card, detector)
