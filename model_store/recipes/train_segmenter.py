"""Trains the starter segmenter from a trained classifier's weights.

`python model_store/recipes/train_segmenter.py --photos DIR --backbone weights.safetensors --out DIR`
"""

import random
from collections.abc import Iterator
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
from training import (
    Average,
    Run,
    Schedule,
    initialise,
    normalise,
    optimiser,
    options,
    placed,
    polynomial,
    seed_everything,
    train,
)

from service import evaluation, networks
from service.networks.segmentation import Segmenter

LABELS = ("background", "cat", "dog")
HEAD_CHANNELS = 64  # of 256: three classes need no more, and the file stays below 25 MB
# Share of the run -> side of the crop.
SIZES = ((0.6, 128), (1.0, 176))
SCALES = (0.6, 1.7)
FLOWERS = 0.15  # of an epoch: photos without an animal, which are all background
AUXILIARY_WEIGHT = 0.2
HEAD_FACTOR = 10.0  # the heads start from nothing
AVERAGE_DECAY = 0.99
VALIDATION_LONG_SIDE = 256

Sample = tuple[npt.NDArray[np.uint8], npt.NDArray[np.uint8]]


def sample(photo: photos.Photo) -> tuple[Image.Image, Image.Image]:
    """The picture and its mask; a flower's is all background."""
    image = photo.picture()
    mask = Image.fromarray(photo.mask_ids()) if photo.mask else Image.new("L", image.size, 0)
    return image, mask


def crop(image: Image.Image, mask: Image.Image, size: int) -> tuple[Image.Image, Image.Image]:
    """A random square of a randomly scaled picture; what lies outside it is black and ignored."""
    scale = random.uniform(*SCALES)
    side = size / scale
    left = random.uniform(min(0.0, image.width - side), max(0.0, image.width - side))
    top = random.uniform(min(0.0, image.height - side), max(0.0, image.height - side))
    matrix = (1 / scale, 0, left, 0, 1 / scale, top)
    square = (size, size)
    picture = image.transform(square, Image.Transform.AFFINE, matrix, Image.Resampling.BICUBIC)
    ids = mask.transform(square, Image.Transform.AFFINE, matrix, Image.Resampling.NEAREST, fillcolor=evaluation.IGNORED)
    return picture, ids


class FitPictures(Dataset[Sample]):
    """Augmented squares of the fit split's pets, and a share of its flowers."""

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


def start(backbone: Path) -> Segmenter:
    """DeepLabV3 on a dilated ResNeSt-14 with the classifier's weights in its backbone."""
    network = networks.build_segmenter("deeplab", "resnest14", len(LABELS), head_channels=HEAD_CHANNELS)
    initialise(network)
    weights = {key: value.float() for key, value in load_file(backbone).items() if not key.startswith("fc.")}
    network.pretrained.load_state_dict(weights)
    return network


@torch.inference_mode()
def validation_iou(network: nn.Module, held: list[photos.Photo], device: str) -> dict[str, float]:
    """mIoU over background, cat and dog, and IoU of pet against background, on true trimaps."""
    counts = np.zeros((len(LABELS), len(LABELS)), np.int64)
    for photo in held:
        image = photo.picture()
        scale = VALIDATION_LONG_SIDE / max(image.size)
        width, height = (max(32, round(side * scale / 32) * 32) for side in image.size)
        pixels = np.array(image.resize((width, height), Image.Resampling.BICUBIC))
        with torch.autocast(torch.device(device).type, torch.bfloat16):
            logits = network(normalise(torch.from_numpy(pixels)[None], device))
        ids = Image.fromarray(logits[0].argmax(0).byte().cpu().numpy())
        found = np.array(ids.resize(image.size, Image.Resampling.NEAREST))
        counts += evaluation.pixel_counts(photo.mask_ids(), found, len(LABELS))
    scores = evaluation.scored(counts, LABELS, len(held))
    return {"validation_miou": scores.mean_iou, "validation_pet_iou": scores.foreground_iou}


def main() -> None:
    """Trains, logs validation scores, and saves the averaged weights as `weights.safetensors`."""
    parser = options("Train the starter segmenter.", epochs=12, batch=16, rate=0.005)
    parser.add_argument("--backbone", type=Path, required=True, help="the classifier's weights.safetensors")
    args = parser.parse_args()
    seed_everything(args.seed)
    rows = photos.read(args.photos)
    pets = [photo for photo in rows if photo.split == "fit" and photo.mask]
    held = [photo for photo in rows if photo.split == "validation" and photo.mask_kind == "trimap"]
    flowers = [photo for photo in rows if photo.split == "fit" and photo.label not in ("cat", "dog")]
    pictures = FitPictures(pets, random.sample(flowers, min(400, len(flowers))), SIZES[0][1])
    network = placed(start(args.backbone), args.device)
    heads = nn.ModuleList(module for name, module in network.named_children() if name != "pretrained")
    groups: list[tuple[nn.Module, float]] = [(network.pretrained, 1.0), (heads, HEAD_FACTOR)]
    run = Run(network, Average(network, AVERAGE_DECAY), optimiser(groups, args.rate, args.decay), args.out)
    run.resume()

    def batches(epoch: int) -> Iterator[tuple[Tensor, Tensor]]:
        pictures.size = next(size for share, size in SIZES if epoch < share * args.epochs)
        loading = {"shuffle": True, "drop_last": True, "num_workers": args.workers, "worker_init_fn": seed_worker}
        yield from DataLoader(pictures, args.batch, **loading)

    def loss_of(batch: tuple[Tensor, Tensor]) -> Tensor:
        images, truth = batch[0], batch[1].to(args.device).long()
        with torch.autocast(torch.device(args.device).type, torch.bfloat16):
            main_logits, auxiliary = network.forward_with_auxiliary(normalise(images, args.device))
        loss = functional.cross_entropy(main_logits.float(), truth, ignore_index=evaluation.IGNORED)
        return loss + AUXILIARY_WEIGHT * functional.cross_entropy(
            auxiliary.float(), truth, ignore_index=evaluation.IGNORED
        )

    schedule = Schedule(args.epochs, len(pictures) // args.batch, args.rate, polynomial)
    train(run, schedule, batches, loss_of, lambda: validation_iou(run.average.network, held, args.device))
    run.finish(leave_out="auxlayer.")


if __name__ == "__main__":
    main()
