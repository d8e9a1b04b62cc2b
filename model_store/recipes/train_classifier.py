"""Trains a starter classifier: `python model_store/recipes/train_classifier.py --photos DIR --out DIR`."""

import argparse
import random
from collections.abc import Iterator

import numpy as np
import numpy.typing as npt
import photos
import torch
from augment import mix, rand_augment, random_resized_crop
from PIL import Image, ImageOps
from torch import Tensor, nn
from torch.nn import functional
from torch.utils.data import DataLoader, Dataset
from training import (
    Average,
    Run,
    Schedule,
    cosine,
    initialise,
    normalise,
    optimiser,
    options,
    placed,
    seed_everything,
    train,
)

from service import networks

# Share of the run -> side of the crop. Small pictures first in each cycle: the same epochs for two thirds of the time.
SIZES = ((0.13, 80), (0.28, 96), (0.375, 128), (0.68, 96), (0.9, 128), (1.0, 160))
RESTART = 0.375  # of the run: the rate rises again for a second, longer cosine (SGDR, arXiv 1608.03983)
VALIDATION_SIZE = 160
WARM_UP = 0.05  # of a cycle
SMOOTHING = 0.1
AVERAGE_DECAY = 0.998


class FitPictures(Dataset[tuple[npt.NDArray[np.uint8], int]]):
    """Augmented crops of the fit split; every picture is decoded once and kept."""

    def __init__(self, items: list[photos.Photo], size: int, decoded: list[Image.Image]) -> None:
        self.items = items
        self.size = size
        self.decoded = decoded

    def __len__(self) -> int:
        return len(self.items)

    def __getitem__(self, index: int) -> tuple[npt.NDArray[np.uint8], int]:
        image = random_resized_crop(self.decoded[index], self.size)
        if random.random() < 0.5:
            image = ImageOps.mirror(image)
        return np.array(rand_augment(image)), photos.LABELS.index(self.items[index].label)


def seed_worker(worker: int) -> None:
    """Gives each process its own stream of random numbers."""
    random.seed(torch.initial_seed() % 2**32 + worker)


def centre(image: Image.Image, size: int) -> npt.NDArray[np.uint8]:
    """The centred square of seven eighths of the short side, at `size` pixels."""
    return np.array(ImageOps.fit(image, (size, size), Image.Resampling.BICUBIC, bleed=1 / 16))


class Validation:
    """Top-1 of a network on the held-out part of the train split."""

    def __init__(self, held: list[photos.Photo], device: str) -> None:
        self.pictures = torch.from_numpy(np.stack([centre(photo.picture(), VALIDATION_SIZE) for photo in held]))
        self.labels = torch.tensor([photos.LABELS.index(photo.label) for photo in held])
        self.device = device

    @torch.inference_mode()
    def accuracy(self, network: nn.Module) -> float:
        """The share of pictures whose highest score is their label's."""
        hits = 0
        for part, truth in zip(self.pictures.split(64), self.labels.split(64), strict=True):
            with torch.autocast(torch.device(self.device).type, torch.bfloat16):
                hits += int((network(normalise(part, self.device)).argmax(1).cpu() == truth).sum())
        return hits / len(self.labels)


def rate_factor(step: int, steps: int) -> float:
    """The factor of the peak rate: a cosine to `RESTART`, and another from there to the end."""
    first = round(steps * RESTART)
    if step < first:
        return cosine(step, first, WARM_UP)
    return cosine(step - first, steps - first, WARM_UP)


def run_of(args: argparse.Namespace) -> Run:
    """A fresh run of the network that `args` names."""
    network = placed(networks.build(args.network, len(photos.LABELS)), args.device)
    initialise(network)
    optimizer = optimiser([(network, 1.0)], args.rate, args.decay)
    return Run(network, Average(network, AVERAGE_DECAY), optimizer, args.out)


def main() -> None:
    """Trains, logs validation accuracy, and saves the averaged weights as `weights.safetensors`."""
    parser = options("Train a starter classifier.", epochs=160, batch=64, rate=0.06)
    parser.add_argument("--network", default="resnest14")
    parser.add_argument("--compile", action="store_true", help="torch.compile: 1.4 times the speed on CPU, measured")
    args = parser.parse_args()
    seed_everything(args.seed)
    rows = photos.read(args.photos)
    fit = [photo for photo in rows if photo.split == "fit"]
    decoded = [photo.picture() for photo in fit]
    validation = Validation([photo for photo in rows if photo.split == "validation"], args.device)
    run = run_of(args)
    run.resume()
    forward = torch.compile(run.network, dynamic=False) if args.compile else run.network

    def batches(epoch: int) -> Iterator[tuple[Tensor, Tensor]]:
        size = next(size for share, size in SIZES if epoch < share * args.epochs)
        loading = {"shuffle": True, "drop_last": True, "num_workers": args.workers, "worker_init_fn": seed_worker}
        yield from DataLoader(FitPictures(fit, size, decoded), args.batch, **loading)

    def loss_of(batch: tuple[Tensor, Tensor]) -> Tensor:
        pictures, labels = batch
        inputs, targets = mix(normalise(pictures, args.device), labels.to(args.device), len(photos.LABELS))
        with torch.autocast(torch.device(args.device).type, torch.bfloat16):
            logits = forward(inputs.contiguous(memory_format=torch.channels_last))
        return functional.cross_entropy(logits.float(), targets, label_smoothing=SMOOTHING)

    schedule = Schedule(args.epochs, len(fit) // args.batch, args.rate, rate_factor)
    train(run, schedule, batches, loss_of, lambda: {"validation_top1": validation.accuracy(run.average.network)})
    run.finish()


if __name__ == "__main__":
    main()
