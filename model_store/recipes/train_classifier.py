"""Trains a starter classifier: `python model_store/recipes/train_classifier.py --photos DIR --out DIR`."""

import random
import time

import numpy as np
import numpy.typing as npt
import photos
import torch
from augment import mix, rand_augment, random_resized_crop
from PIL import Image, ImageOps
from safetensors.torch import save_file
from torch import Tensor
from torch.nn import functional
from torch.utils.data import DataLoader, Dataset
from training import Average, Run, cosine, initialise, normalise, optimiser, options, seed_everything, set_rate

from service import networks

# Share of the run -> side of the crop. Small pictures first: the same accuracy for two thirds of the time.
SIZES = ((0.35, 80), (0.75, 96), (1.0, 128))
VALIDATION_SIZE = 160  # larger than the last training crop (arXiv 1906.06423)
WARM_UP = 5  # epochs
SMOOTHING = 0.1


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


@torch.inference_mode()
def accuracy(network: torch.nn.Module, pictures: Tensor, labels: Tensor, device: str) -> float:
    """Top-1 of the network on `(n, h, w, 3)` uint8 pictures."""
    hits = 0
    for part, truth in zip(pictures.split(64), labels.split(64), strict=True):
        with torch.autocast(torch.device(device).type, torch.bfloat16):
            hits += int((network(normalise(part, device)).argmax(1).cpu() == truth).sum())
    return hits / len(labels)


def main() -> None:
    """Trains, logs validation accuracy, and saves the averaged weights as `weights.safetensors`."""
    parser = options("Train a starter classifier.", epochs=100, rate=0.06)
    parser.add_argument("--network", default="resnest14")
    args = parser.parse_args()
    seed_everything(args.seed)
    rows = photos.read(args.photos)
    fit = [photo for photo in rows if photo.split == "fit"]
    held = [photo for photo in rows if photo.split == "validation"]
    decoded = [photo.picture() for photo in fit]
    held_pictures = torch.from_numpy(np.stack([centre(photo.picture(), VALIDATION_SIZE) for photo in held]))
    held_labels = torch.tensor([photos.LABELS.index(photo.label) for photo in held])

    network = networks.build(args.network, len(photos.LABELS)).to(args.device, memory_format=torch.channels_last)
    initialise(network)
    run = Run(network, Average(network, 0.998), optimiser([(network, 1.0)], args.rate, args.decay), args.out)
    run.resume()
    forward = torch.compile(network, dynamic=False) if args.compile else network
    steps_an_epoch = len(fit) // args.batch
    for epoch in run.epochs(args.epochs):
        started = time.monotonic()
        size = next(size for share, size in SIZES if epoch < share * args.epochs)
        loader = DataLoader(
            FitPictures(fit, size, decoded),
            args.batch,
            shuffle=True,
            drop_last=True,
            num_workers=args.workers,
            worker_init_fn=seed_worker,
        )
        network.train()
        losses = []
        for step, (pictures, labels) in enumerate(loader):
            progress = epoch * steps_an_epoch + step
            factor = cosine(progress, args.epochs * steps_an_epoch, WARM_UP * steps_an_epoch)
            set_rate(run.optimizer, args.rate * factor)
            inputs, targets = mix(normalise(pictures, args.device), labels.to(args.device), len(photos.LABELS))
            with torch.autocast(torch.device(args.device).type, torch.bfloat16):
                logits = forward(inputs.contiguous(memory_format=torch.channels_last))
            loss = functional.cross_entropy(logits.float(), targets, label_smoothing=SMOOTHING)
            run.optimizer.zero_grad()
            loss.backward()
            run.optimizer.step()
            run.average.update(network)
            losses.append(loss.item())
        top1 = accuracy(run.average.network, held_pictures, held_labels, args.device)
        run.log(started, size=size, loss=sum(losses) / len(losses), validation_top1=top1)
    save_file(run.average.network.half().state_dict(), args.out / "weights.safetensors")


if __name__ == "__main__":
    main()
