"""Train a starter classifier: `python model_store/recipes/train_classifier.py --photos DIR --out DIR`."""

import argparse
import random
from collections.abc import Iterator

import numpy as np
import numpy.typing as npt
import photos
import torch
from PIL import Image, ImageOps
from torch import Tensor, nn
from torch.nn import functional
from torch.utils.data import DataLoader
from training import Average, Run, Schedule, initialise, normalise, options, train

from service import networks
from service.engines.training.augment import mix
from service.engines.training.augmented_images import AugmentedImages
from service.engines.training.optimisation import bfloat16, cosine, optimiser, seed_everything, to_device

# (share of the run, side of the crop). Each cycle begins with small crops: the same epochs in two thirds of the time.
SIZES = ((0.13, 80), (0.28, 96), (0.375, 128), (0.68, 96), (0.9, 128), (1.0, 160))
RESTART = 0.375  # of the run: a second, longer cosine begins (SGDR, arXiv 1608.03983)
VALIDATION_SIZE = 160
WARM_UP = 0.05  # of a cycle
SMOOTHING = 0.1
AVERAGE_DECAY = 0.998


def seed_worker(worker: int) -> None:
    """Seed a loader process with its own random numbers."""
    random.seed(torch.initial_seed() % 2**32 + worker)


def centre(image: Image.Image, size: int) -> npt.NDArray[np.uint8]:
    """Return the centred square of 7/8 of the short side, resized to `size` pixels."""
    return np.array(ImageOps.fit(image, (size, size), Image.Resampling.BICUBIC, bleed=1 / 16))


class Validation:
    """Top-1 accuracy of a network on the validation photos."""

    def __init__(self, held: list[photos.Photo], device: str) -> None:
        self.images = torch.from_numpy(np.stack([centre(photo.image(), VALIDATION_SIZE) for photo in held]))
        self.labels = torch.tensor([photos.LABELS.index(photo.label) for photo in held])
        self.device = device

    @torch.inference_mode()
    def accuracy(self, network: nn.Module) -> float:
        """Return the share of images whose highest score is that of their label."""
        hits = 0
        for part, truth in zip(self.images.split(64), self.labels.split(64), strict=True):
            with bfloat16(self.device):
                hits += int((network(normalise(part, self.device)).argmax(1).cpu() == truth).sum())
        return hits / len(self.labels)


def rate_factor(step: int, steps: int) -> float:
    """Return the factor of the peak rate: a cosine until `RESTART`, and a second one until the end."""
    first = round(steps * RESTART)
    if step < first:
        return cosine(step, first, WARM_UP)
    return cosine(step - first, steps - first, WARM_UP)


def run_of(args: argparse.Namespace) -> Run:
    """Return a new run of the network named in `args`."""
    network = to_device(networks.build(args.network, len(photos.LABELS)), args.device)
    initialise(network)
    optimizer = optimiser([(network, 1.0)], args.rate, args.decay)
    return Run(network, Average(network, AVERAGE_DECAY), optimizer, args.out)


def main() -> None:
    """Train, log the validation accuracy, and save the averaged weights as `weights.safetensors`."""
    parser = options("Train a starter classifier.", epochs=160, batch=64, rate=0.06)
    parser.add_argument("--network", default="resnest14")
    parser.add_argument(
        "--compile", action="store_true", help="use torch.compile, measured 1.4 times as fast on the CPU"
    )
    args = parser.parse_args()
    seed_everything(args.seed)
    rows = photos.read(args.photos)
    fit = [photo for photo in rows if photo.split == "fit"]
    decoded = [photo.image() for photo in fit]
    class_ids = [photos.LABELS.index(photo.label) for photo in fit]
    validation = Validation([photo for photo in rows if photo.split == "validation"], args.device)
    run = run_of(args)
    run.resume()
    forward = torch.compile(run.network, dynamic=False) if args.compile else run.network

    def batches(epoch: int) -> Iterator[tuple[Tensor, Tensor]]:
        size = next(size for share, size in SIZES if epoch < share * args.epochs)
        loading = {"shuffle": True, "drop_last": True, "num_workers": args.workers, "worker_init_fn": seed_worker}
        yield from DataLoader(AugmentedImages(decoded, class_ids, size), args.batch, **loading)

    def loss_of(batch: tuple[Tensor, Tensor]) -> Tensor:
        images, labels = batch
        inputs, targets = mix(normalise(images, args.device), labels.to(args.device), len(photos.LABELS))
        with bfloat16(args.device):
            logits = forward(inputs.contiguous(memory_format=torch.channels_last))
        return functional.cross_entropy(logits.float(), targets, label_smoothing=SMOOTHING)

    schedule = Schedule(args.epochs, len(fit) // args.batch, args.rate, rate_factor)
    train(run, schedule, batches, loss_of, lambda: {"validation_top1": validation.accuracy(run.average.network)})
    run.finish()


if __name__ == "__main__":
    main()
