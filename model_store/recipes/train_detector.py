"""Train the starter detector from the starter segmenter's backbone, or further from weights of its own.

`python model_store/recipes/train_detector.py --photos DIR --backbone weights.safetensors --out DIR`
"""

import argparse
import math
import random
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple, Self, cast

import numpy as np
import photos
import torch
from detector_loss import PROPOSALS, Truth, loss
from PIL import Image
from safetensors.torch import load_file
from scenes import CLASSES, Scene, Scenes, has_animal, masked_image
from torch import Tensor, nn
from torch.nn import functional
from training import Average, Run, Schedule, normalise, options, train

from service.engines.training.optimisation import bfloat16, cosine, seed_everything, to_device
from service.networks.detection.detector import Detector, ImageGeometry
from service.networks.detection.heads import BoxHead
from service.networks.detection.spec import DETECTORS, STARTERS
from service.tasks.detection import scoring
from service.tasks.scoring_base import LabelledImage, PipelineOutput

SIDES = ((192, 256), (192, 288), (224, 288))  # of a batch's images, in pixels, in either orientation
PORTRAIT = 0.35  # share of the batches: about that of the photos
BACKBONE_FACTOR = 0.3  # of the rate: the backbone has been trained
AVERAGE_DECAY = 0.995
WARM_UP = 0.04
VALIDATION_SHORT_SIDE = 224  # pixels
FLOWERS = 400
VALIDATED_EPOCHS = 4  # Between two scores.


class Trainee(Detector):
    """The detector while it is trained. BatchNorm keeps its statistics, since batches are small."""

    def train(self, mode: bool = True) -> Self:  # noqa: FBT001, FBT002 - the signature of torch's
        """Set training mode for all but BatchNorm."""
        super().train(mode)
        for module in self.modules():
            if isinstance(module, nn.BatchNorm2d):
                module.eval()
        return self


def start(network: str, backbone: Path | None = None, weights: Path | None = None) -> Trainee:
    """Return a new network without gradients up to P2's, from one of two files of weights.

    `backbone` are the weights of a segmenter or a classifier, `weights` those of a starter detector. The stem and the
    first stage stay as they are, as in the published detectors (FREEZE_AT 2).
    """
    made = Trainee(DETECTORS[network], len(CLASSES))
    initialise(made)
    if backbone:
        given = {key.removeprefix("pretrained."): value.float() for key, value in load_file(backbone).items()}
        own = made.trunk.backbone.state_dict()
        made.trunk.backbone.load_state_dict({key: given[key] for key in own})
    if weights:
        made.load_state_dict(spread({key: value.float() for key, value in load_file(weights).items()}, made))
    trunk = made.trunk.backbone
    norms = [each for each in trunk.modules() if isinstance(each, nn.BatchNorm2d)]
    for module in (trunk.conv1, trunk.layer1, *norms):
        module.requires_grad_(requires_grad=False)
    return made


def spread(given: dict[str, Tensor], network: Detector) -> dict[str, Tensor]:
    """Return the given weights of a detector as those of `network`, which may be a cascade although it is none.

    Each head of a cascade then starts from the only one. It has one box for all classes, so that its deltas are the
    mean of theirs, and later stages have larger ones for the same change of a box.
    """
    heads = len(network.box_heads)
    if heads == 1 or "box_heads.1.deltas.weight" in given:
        return given
    state = {key: value for key, value in given.items() if not key.startswith("box_heads.")}
    for key, value in given.items():
        for stage in range(heads if key.startswith("box_heads.0.") else 0):
            name = key.replace("box_heads.0.", f"box_heads.{stage}.")
            state[name] = value
            if name.endswith(("deltas.weight", "deltas.bias")):
                first, own = (value.new_tensor(network.spec.rules.stage_weights[each]) for each in (0, stage))
                mean = value.unflatten(0, (len(CLASSES), 4)).mean(dim=0)
                state[name] = mean * (own / first).view(4, *[1] * (mean.ndim - 1))
    return state


def initialise(network: Detector) -> None:
    """Initialise what lies behind the backbone: small normal weights where an answer begins at 0, He's elsewhere."""
    for module in (network.trunk.fpn, network.trunk.rpn, network.box_heads, network.mask_heads):
        for layer in module.modules():
            if isinstance(layer, nn.Conv2d | nn.Linear | nn.ConvTranspose2d):
                nn.init.kaiming_uniform_(layer.weight, a=1)
                if layer.bias is not None:
                    nn.init.zeros_(layer.bias)
    rpn, heads = network.trunk.rpn, [cast("BoxHead", head) for head in network.box_heads]
    for answer in (rpn.objectness, rpn.deltas):
        nn.init.normal_(answer.weight, std=0.01)
    for head in heads:
        nn.init.normal_(head.scores.weight, std=0.01)
        nn.init.normal_(head.deltas.weight, std=0.001)
    nn.init.constant_(cast("Tensor", rpn.objectness.bias), -math.log(9))  # few anchors are positive


def truth_of(scene: Scene, device: str) -> Truth:
    """Return a scene's instances as tensors."""
    arrays = (scene.boxes(), scene.class_ids, scene.masks)
    return Truth(*(torch.from_numpy(array).to(device) for array in arrays))


def optimiser(network: Detector, rate: float, decay: float) -> torch.optim.AdamW:
    """Return AdamW with a lower rate for the backbone, and weight decay only on matrices."""
    groups = []
    behind = nn.ModuleList([network.trunk.fpn, network.trunk.rpn, network.box_heads, network.mask_heads])
    for module, factor in ((network.trunk.backbone, BACKBONE_FACTOR), (behind, 1.0)):
        trained = [each for each in module.parameters() if each.requires_grad]
        weights, others = [p for p in trained if p.ndim > 1], [p for p in trained if p.ndim <= 1]
        groups.append({"params": weights, "weight_decay": decay, "factor": factor})
        groups.append({"params": others, "weight_decay": 0.0, "factor": factor})
    return torch.optim.AdamW(groups, lr=rate)


class Batch(NamedTuple):
    """Images `(n, h, w, 3)`, and what they show."""

    images: Tensor
    truths: list[Truth]


class Training:
    """The command line, the images, the batches and the loss."""

    def __init__(self, args: argparse.Namespace, network: Trainee) -> None:
        self.args = args
        self.network = network
        rows = photos.read(args.photos)
        fit = [photo for photo in rows if photo.split == "fit"]
        flowers = [photo for photo in fit if photo.label not in CLASSES]
        pets = [each for photo in fit if photo.mask and has_animal(each := masked_image(photo))]
        self.held = [photo for photo in rows if photo.split == "validation" and photo.mask_kind == "trimap"]
        self.steps = args.scenes // args.batch
        self.scenes = Scenes(pets, [masked_image(each) for each in random.sample(flowers, min(FLOWERS, len(flowers)))])

    def batches(self, _epoch: int) -> Iterator[Batch]:
        """Yield the random scenes of an epoch, in batches of one size."""
        for _ in range(self.steps):
            height, width = random.choice(SIDES)
            if random.random() < PORTRAIT:
                height, width = width, height
            drawn = [self.scenes.draw(height, width) for _ in range(self.args.batch)]
            images = torch.stack([torch.from_numpy(scene.image) for scene in drawn])
            yield Batch(images, [truth_of(scene, self.args.device) for scene in drawn])

    def loss_of(self, batch: Batch) -> Tensor:
        """Return the sum of the loss's terms."""
        with bfloat16(self.args.device):
            maps = self.network.trunk.backbone.stages(normalise(batch.images, self.args.device))
        return torch.stack(list(loss(self.network, maps, batch.truths).values())).sum()

    def score(self, run: Run) -> dict[str, float]:
        """Write the averaged weights as `latest.safetensors`, and now and then return their average precision."""
        run.finish(name="latest.safetensors")
        if (run.epoch + 1) % VALIDATED_EPOCHS:
            return {}
        return validation(run.average.network, self.held, self.args.device)


@dataclass(frozen=True)
class Classes:
    """What scoring knows of the detector."""

    name: str = "starter-detector"
    labels: tuple[str, ...] = CLASSES
    class_ids: Mapping[str, int] = field(default_factory=lambda: {label: index for index, label in enumerate(CLASSES)})


@torch.inference_mode()
def validation(network: nn.Module, held: list[photos.Photo], device: str) -> dict[str, float]:
    """Return the average precision of boxes and of masks."""
    outcomes = []
    for photo in held:
        image = photo.image()
        scale = VALIDATION_SHORT_SIDE / min(image.size)
        width, height = (round(side * scale) for side in image.size)
        pixels = torch.from_numpy(np.array(image.resize((width, height), Image.Resampling.BILINEAR)))[None]
        padded = functional.pad(normalise(pixels, device), (0, -width % 32, 0, -height % 32))
        found = network(padded, ImageGeometry((height, width), (height, width)), PROPOSALS)
        boxes, scores, class_ids = (each.cpu().numpy() for each in found.detections)
        masks = (255 * found.masks).round().byte().cpu().numpy()
        arrays = {
            "boxes": boxes / [width, height, width, height],
            "scores": scores,
            "class_ids": class_ids,
            "masks": masks,
        }
        truth = LabelledImage(photo.path, photo.label, photo.mask)
        outcomes.append(scoring.outcome_of(Classes(), truth, PipelineOutput(arrays, *image.size)))
    result = scoring.scores(CLASSES, outcomes)
    shares = {"box_ap": result.boxes.ap, "box_ap50": result.boxes.ap50, "mask_ap": result.masks and result.masks.ap}
    return {f"validation_{name}": share or 0.0 for name, share in shares.items()}


def main() -> None:
    """Train, log, and save the averaged weights as `weights.safetensors`."""
    parser = options("Train the starter detector.", epochs=90, batch=2, rate=5e-4)
    parser.add_argument("--network", choices=sorted(STARTERS), default="starter_cascade_mask_rcnn_resnest14")
    first = parser.add_mutually_exclusive_group(required=True)
    first.add_argument("--backbone", type=Path, help="the segmenter's weights.safetensors, for a new detector")
    first.add_argument("--weights", type=Path, help="a starter detector's weights.safetensors, to train it further")
    parser.add_argument("--scenes", type=int, default=240, help="scenes of an epoch, after which there is a checkpoint")
    parser.add_argument("--minutes", type=float, default=math.inf, help="end earlier, after this time")
    parser.set_defaults(decay=0.02)
    args = parser.parse_args()
    seed_everything(args.seed)
    network = to_device(start(args.network, args.backbone, args.weights), args.device)
    training = Training(args, network)
    run = Run(network, Average(network, AVERAGE_DECAY), optimiser(network, args.rate, args.decay), args.out)
    run.resume()
    schedule = Schedule(
        args.epochs,
        training.steps,
        args.rate,
        lambda step, steps: cosine(step, steps, WARM_UP),
        seconds=60 * args.minutes,
    )
    train(run, schedule, training.batches, training.loss_of, lambda: training.score(run))
    run.finish()


if __name__ == "__main__":
    main()
