"""The detector's recipe: what it starts from, what it trains, its validation, and a complete short run."""

import argparse
from pathlib import Path

import numpy as np
import photos
import pytest
import torch
import train_detector
from safetensors.torch import load_file, save_file
from scenes import Scene
from torch import nn

from service import networks
from service.models import cards
from service.networks.detection.detector import Instances
from service.networks.detection.results import Detections
from service.networks.detection.spec import STARTERS
from tests.model_store.recipes.runs import RECIPES, run


@pytest.fixture(scope="session")
def backbone(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return random weights of the segmenter, from whose backbone the detector starts."""
    torch.manual_seed(0)
    path = tmp_path_factory.mktemp("segmenter") / "weights.safetensors"
    network = networks.build_segmenter("deeplab", "resnest14", 3, 8, head_channels=64)
    save_file({key: value.contiguous() for key, value in network.half().state_dict().items()}, path)
    return path


@pytest.fixture(params=sorted(STARTERS))
def network(request: pytest.FixtureRequest, backbone: Path) -> train_detector.Trainee:
    return train_detector.start(request.param, backbone)


def saved(network: nn.Module, path: Path) -> dict[str, torch.Tensor]:
    """Write the weights as a run does, in 16 bits, and return them."""
    state = {key: value.half() for key, value in network.state_dict().items() if value.is_floating_point()}
    save_file({**network.state_dict(), **state}, path)
    return state


def test_a_run_starts_from_the_backbone_of_the_segmenter(network: train_detector.Trainee, backbone: Path) -> None:
    given = load_file(backbone)

    for key, value in network.trunk.backbone.state_dict().items():
        assert torch.equal(value, given[f"pretrained.{key}"].to(value.dtype)), key


def test_a_run_starts_from_the_weights_of_a_former_run(network: train_detector.Trainee, tmp_path: Path) -> None:
    given = saved(network, tmp_path / "weights.safetensors")
    name = next(name for name, spec in STARTERS.items() if spec == network.spec)

    found = train_detector.start(name, weights=tmp_path / "weights.safetensors").state_dict()

    assert given
    assert all(torch.equal(found[key], value.float()) for key, value in given.items())


def test_each_head_of_a_cascade_starts_from_the_only_one_of_a_detector_without(backbone: Path, tmp_path: Path) -> None:
    plain = train_detector.start("starter_mask_rcnn_resnest14", backbone)
    given = saved(plain, tmp_path / "weights.safetensors")

    network = train_detector.start("starter_cascade_mask_rcnn_resnest14", weights=tmp_path / "weights.safetensors")

    found = network.state_dict()
    for stage, factor in enumerate((1, 2, 3)):
        for name in ("fcs.0.weight", "fcs.1.bias", "scores.weight"):
            assert torch.equal(found[f"box_heads.{stage}.{name}"], given[f"box_heads.0.{name}"].float())
        # A cascade has one box for all classes.
        mean = given["box_heads.0.deltas.weight"].float().view(2, 4, -1).mean(dim=0)
        torch.testing.assert_close(found[f"box_heads.{stage}.deltas.weight"], factor * mean)


def test_weights_of_another_kind_of_detector_are_refused(backbone: Path) -> None:
    with pytest.raises(RuntimeError, match="Missing key"):
        train_detector.start("starter_mask_rcnn_resnest14", weights=backbone)


def test_the_stem_the_first_stage_and_the_statistics_do_not_change(network: train_detector.Trainee) -> None:
    network.train()
    before = {key: value.clone() for key, value in network.state_dict().items()}
    optimizer = train_detector.optimiser(network, 1e-3, 0.02)

    outputs = network.trunk(torch.randn(1, 3, 64, 64))
    torch.stack([each.sum() for each in outputs]).sum().backward()
    optimizer.step()

    changed = {key for key, value in network.state_dict().items() if not torch.equal(value, before[key])}
    assert {key.split(".")[2] for key in changed if key.startswith("trunk.backbone")} == {"layer2", "layer3", "layer4"}
    assert not [key for key in changed if "running" in key or ".bn" in key]
    assert any(key.startswith("trunk.rpn") for key in changed)


def test_the_backbone_has_a_lower_rate_and_only_matrices_decay(network: train_detector.Trainee) -> None:
    groups = train_detector.optimiser(network, 1.0, 0.5).param_groups

    factors = {id(p): group["factor"] for group in groups for p in group["params"]}
    assert factors[id(network.get_parameter("trunk.backbone.layer4.0.conv1.weight"))] == train_detector.BACKBONE_FACTOR
    assert factors[id(network.trunk.rpn.objectness.weight)] == 1
    assert all(p.ndim > 1 for group in groups if group["weight_decay"] for p in group["params"])


def test_an_epoch_has_batches_of_one_size_and_the_whole_network_learns_from_them(
    network: train_detector.Trainee, photos_folder: Path
) -> None:
    args = argparse.Namespace(photos=photos_folder, batch=2, scenes=12, device="cpu")
    training = train_detector.Training(args, network.train())

    first, *others = training.batches(0)
    training.loss_of(first).backward()

    assert len(others) == 5
    assert {len(each.truths) for each in (first, *others)} == {2}
    assert {tuple(sorted(each.images.shape[1:3])) for each in (first, *others)} <= set(train_detector.SIDES)
    for name in ("trunk.backbone.layer2.0.conv1.weight", "trunk.rpn.conv.conv.weight", "box_heads.0.deltas.weight"):
        assert network.get_parameter(name).grad is not None, name


class Exact(nn.Module):
    """Finds the animal of the synthetic photos, as the class `class_id`, and fills its box."""

    def __init__(self, class_id: int) -> None:
        super().__init__()
        self.class_id = class_id

    def forward(self, _padded: torch.Tensor, geometry: tuple[tuple[int, int], object], _proposals: int) -> Instances:
        height, width = geometry[0]
        box = torch.tensor([[5 / 24 * width, 4 / 20 * height, 15 / 24 * width, 15 / 20 * height]])
        return Instances(Detections(box, torch.tensor([0.9]), torch.tensor([self.class_id])), torch.ones(1, 28, 28))


def test_validation_is_the_average_precision_of_boxes_and_masks(photos_folder: Path) -> None:
    cats = [row for row in photos.read(photos_folder) if row.label == "cat" and row.split == "test"]

    right = train_detector.validation(Exact(0), cats, "cpu")
    wrong = train_detector.validation(Exact(1), cats, "cpu")

    assert right == {
        "validation_box_ap": pytest.approx(1),
        "validation_box_ap50": pytest.approx(1),
        "validation_mask_ap": pytest.approx(1),
    }
    assert set(wrong.values()) == {0}


def test_truth_has_a_scenes_boxes_class_ids_and_masks() -> None:
    masks = np.zeros((1, 8, 8), bool)
    masks[0, 2:5, 1:7] = True
    scene = Scene(np.zeros((8, 8, 3), np.uint8), masks, np.array([1]))

    found = train_detector.truth_of(scene, "cpu")

    assert found.boxes.tolist() == [[1, 2, 7, 5]]
    assert found.class_ids.tolist() == [1]
    assert torch.equal(found.masks, torch.from_numpy(masks))


def test_a_run_leaves_weights_that_fit_the_card(backbone: Path, photos_folder: Path, tmp_path: Path) -> None:
    options = {"photos": photos_folder, "backbone": backbone, "out": tmp_path, "scenes": 2, "batch": 1, "device": "cpu"}
    run("train_detector", **options, epochs=1)
    said = run("train_detector", **options, epochs=2)  # resumes

    card = cards.read(RECIPES.parent / "starter-detector")
    weights = load_file(tmp_path / "weights.safetensors")
    networks.build(**card.network.arguments()).load_state_dict(weights)
    assert said.startswith("epoch 1  loss ")
    assert (tmp_path / "weights.safetensors").stat().st_size < 25e6


def test_a_run_ends_when_its_minutes_are_over(backbone: Path, photos_folder: Path, tmp_path: Path) -> None:
    options = {"photos": photos_folder, "backbone": backbone, "out": tmp_path, "scenes": 2, "batch": 1, "device": "cpu"}

    said = run("train_detector", **options, epochs=50, minutes=0.001)

    assert said.count("epoch") == 1
    assert (tmp_path / "weights.safetensors").is_file()
