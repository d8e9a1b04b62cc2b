"""Train the starter segmenter from a trained classifier's weights.

`python model_store/recipes/train_segmenter.py --photos DIR --backbone weights.safetensors --out DIR`
"""

import argparse
import functools
import random
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
import photos
import torch
from PIL import Image, ImageEnhance, ImageOps
from safetensors.torch import load_file
from torch import Tensor, nn
from torch.nn import functional
from torch.utils.data import DataLoader, Dataset
from train_classifier import seed_worker
from training import Average, Run, Schedule, initialise, normalise, options, polynomial, train

from service import networks
from service.engines.training.optimisation import bfloat16, optimiser, seed_everything, to_device
from service.networks.segmentation import Segmenter
from service.tasks.scoring_base import IGNORED
from service.tasks.segmentation import scoring

LABELS = ("background", "cat", "dog")
HEAD_CHANNELS = 64  # instead of 256: enough for three classes, and the file stays below 25 MB
SCALES = (0.6, 1.7)
FLOWERS = 0.15  # share of an epoch: photos without an animal, all background
AUXILIARY_WEIGHT = 0.2
HEAD_FACTOR = 10.0  # of the rate: the heads start from random weights
AVERAGE_DECAY = 0.99
VALIDATION_LONG_SIDE = 256


@dataclass(frozen=True)
class Phase:
    """A part of the run: its share of the epochs, output stride, side of a crop in pixels, and factor of the rate."""

    share: float
    output_stride: int
    side: int
    rate: float


# First a coarse stride, at half the cost per pixel, then the stride for serving. DeepLabV3 was trained like this
# (arXiv 1706.05587, section 4.1: output stride 16 with halved atrous rates, then 8).
PHASES = (Phase(2 / 3, 16, 160, 1.0), Phase(1 / 3, 8, 192, 0.4))

Sample = tuple[npt.NDArray[np.uint8], npt.NDArray[np.uint8]]


def sample(photo: photos.Photo) -> tuple[Image.Image, Image.Image]:
    """Return the image and its mask. The mask of a flower is all background."""
    image = photo.image()
    mask = Image.fromarray(photo.mask_ids()) if photo.mask else Image.new("L", image.size, 0)
    return image, mask


def crop(image: Image.Image, mask: Image.Image, size: int) -> tuple[Image.Image, Image.Image]:
    """Return a random square of the randomly scaled image. Pixels outside the image are black, and ignored."""
    scale = random.uniform(*SCALES)
    side = size / scale
    left = random.uniform(min(0.0, image.width - side), max(0.0, image.width - side))
    top = random.uniform(min(0.0, image.height - side), max(0.0, image.height - side))
    matrix = (1 / scale, 0, left, 0, 1 / scale, top)
    square = (size, size)
    pixels = image.transform(square, Image.Transform.AFFINE, matrix, Image.Resampling.BICUBIC)
    ids = mask.transform(square, Image.Transform.AFFINE, matrix, Image.Resampling.NEAREST, fillcolor=IGNORED)
    return pixels, ids


class FitSamples(Dataset[Sample]):
    """Augmented crops of the fit split's pets, and a share of its flowers."""

    def __init__(self, pets: list[photos.Photo], flowers: list[photos.Photo], size: int) -> None:
        self.pets = [sample(photo) for photo in pets]
        self.flowers = [sample(photo) for photo in flowers]
        self.size = size

    def __len__(self) -> int:
        return round(len(self.pets) / (1 - FLOWERS))

    def __getitem__(self, index: int) -> Sample:
        image, mask = self.pets[index] if index < len(self.pets) else random.choice(self.flowers)
        image, mask = crop(image, mask, self.size)
        if random.random() < 0.5:
            image, mask = ImageOps.mirror(image), ImageOps.mirror(mask)
        for change in (ImageEnhance.Brightness, ImageEnhance.Contrast, ImageEnhance.Color):
            image = change(image).enhance(random.uniform(0.6, 1.4))
        return np.array(image), np.array(mask)


def build(output_stride: int) -> Segmenter:
    """Return DeepLabV3 on a dilated ResNeSt-14. The atrous rates span equally many image pixels at each stride."""
    network = networks.build_segmenter("deeplab", "resnest14", len(LABELS), output_stride, head_channels=HEAD_CHANNELS)
    for conv in network.head.modules():
        if isinstance(conv, nn.Conv2d) and conv.dilation[0] > 1:
            rate = conv.dilation[0] * 8 // output_stride
            conv.dilation = conv.padding = (rate, rate)
    return network


def start(backbone: Path, output_stride: int) -> Segmenter:
    """Return a new network with the classifier's weights in its backbone."""
    network = build(output_stride)
    initialise(network)
    weights = {key: value.float() for key, value in load_file(backbone).items() if not key.startswith("fc.")}
    network.pretrained.load_state_dict(weights)
    return network


@torch.inference_mode()
def validation_iou(network: nn.Module, held: list[photos.Photo], device: str) -> dict[str, float]:
    """Return the mIoU over background, cat and dog, and the IoU of pet against background, on trimaps."""
    counts = np.zeros((len(LABELS), len(LABELS)), np.int64)
    for photo in held:
        image = photo.image()
        scale = VALIDATION_LONG_SIDE / max(image.size)
        width, height = (max(32, round(side * scale / 32) * 32) for side in image.size)
        pixels = np.array(image.resize((width, height), Image.Resampling.BICUBIC))
        with bfloat16(device):
            logits = network(normalise(torch.from_numpy(pixels)[None], device))
        ids = Image.fromarray(logits[0].argmax(0).byte().cpu().numpy())
        found = np.array(ids.resize(image.size, Image.Resampling.NEAREST))
        counts += scoring.pixel_counts(photo.mask_ids(), found, len(LABELS))
    scores = scoring.scores_of_counts(counts, LABELS, len(held))
    return {"validation_miou": scores.mean_iou, "validation_pet_iou": scores.foreground_iou}


class Training:
    """The command line, the photos, the batches and the loss, which all phases share."""

    def __init__(self, args: argparse.Namespace) -> None:
        self.args = args
        rows = photos.read(args.photos)
        pets = [photo for photo in rows if photo.split == "fit" and photo.mask]
        flowers = [photo for photo in rows if photo.split == "fit" and photo.label not in ("cat", "dog")]
        self.held = [photo for photo in rows if photo.split == "validation" and photo.mask_kind == "trimap"]
        self.samples = FitSamples(pets, random.sample(flowers, min(400, len(flowers))), PHASES[0].side)

    def batches(self, _: int) -> Iterator[tuple[Tensor, Tensor]]:
        """Yield the batches of an epoch, images with their masks."""
        workers, batch = self.args.workers, self.args.batch
        yield from DataLoader(
            self.samples, batch, shuffle=True, drop_last=True, num_workers=workers, worker_init_fn=seed_worker
        )

    def loss_of(self, network: Segmenter, batch: tuple[Tensor, Tensor]) -> Tensor:
        """Return the cross entropy over the pixels that have a class, plus that of the auxiliary head."""
        images, truth = batch[0], batch[1].to(self.args.device).long()
        with bfloat16(self.args.device):
            logits, auxiliary = network.forward_with_auxiliary(normalise(images, self.args.device))
        main, extra = (
            functional.cross_entropy(each.float(), truth, ignore_index=IGNORED) for each in (logits, auxiliary)
        )
        return main + AUXILIARY_WEIGHT * extra

    def phase(self, phase: Phase, network: Segmenter) -> Run:
        """Train `network` through a phase, resuming an interrupted one."""
        args, self.samples.size = self.args, phase.side
        heads = nn.ModuleList(module for name, module in network.named_children() if name != "pretrained")
        groups: list[tuple[nn.Module, float]] = [(network.pretrained, 1.0), (heads, HEAD_FACTOR)]
        optimizer = optimiser(groups, args.rate, args.decay)
        run = Run(network, Average(network, AVERAGE_DECAY), optimizer, args.out / f"stride{phase.output_stride}")
        run.resume()
        steps = len(self.samples) // args.batch
        schedule = Schedule(round(phase.share * args.epochs), steps, phase.rate * args.rate, polynomial)
        score = functools.partial(validation_iou, run.average.network, self.held, args.device)
        train(run, schedule, self.batches, functools.partial(self.loss_of, network), score)
        return run


def main() -> None:
    """Train, log the validation scores, and save the averaged weights as `weights.safetensors`."""
    parser = options("Train the starter segmenter.", epochs=45, batch=16, rate=0.005)
    parser.add_argument("--backbone", type=Path, required=True, help="the classifier's weights.safetensors")
    args = parser.parse_args()
    seed_everything(args.seed)
    training = Training(args)
    state = start(args.backbone, PHASES[0].output_stride).state_dict()
    for phase in PHASES:
        network = build(phase.output_stride)
        network.load_state_dict(state)
        run = training.phase(phase, to_device(network, args.device))
        state = run.average.network.state_dict()
    run.folder = args.out
    run.finish(leave_out="auxlayer.")


if __name__ == "__main__":
    main()
