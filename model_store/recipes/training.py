"""Shared by the recipes: options, initial weights, schedule, averaged weights, checkpoints and progress."""

import argparse
import copy
import json
import math
import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

import torch
from safetensors.torch import save_file
from torch import Tensor, nn

from service.engines.training.optimisation import set_rate
from service.models.inputs import Input
from service.networks.bottleneck import Bottleneck

DEFAULTS = Input.model_fields  # with the default mean and deviation of the cards, which are ImageNet's
Batch = TypeVar("Batch")


def options(description: str, *, epochs: int, batch: int, rate: float) -> argparse.ArgumentParser:
    """Return the command line parser of a recipe."""
    parser = argparse.ArgumentParser(description=description)
    parser.add_argument("--photos", type=Path, required=True, help="folder with index.csv")
    parser.add_argument("--out", type=Path, required=True, help="folder for checkpoints and the log")
    parser.add_argument("--epochs", type=int, default=epochs)
    parser.add_argument("--batch", type=int, default=batch)
    parser.add_argument("--rate", type=float, default=rate, help="peak learning rate")
    parser.add_argument("--decay", type=float, default=1e-3, help="weight decay of convolution and linear weights")
    parser.add_argument("--seed", type=int, default=2020)
    parser.add_argument("--workers", type=int, default=1, help="processes that prepare images")
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    return parser


def initialise(network: nn.Module) -> None:
    """Apply He initialisation, with a zero gamma at the end of each block (arXiv 1706.02677; ResNeSt, section 5.1)."""
    for module in network.modules():
        if isinstance(module, nn.Conv2d):
            nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")
            if module.bias is not None:
                nn.init.zeros_(module.bias)
    for module in network.modules():
        if isinstance(module, Bottleneck):
            nn.init.zeros_(module.bn3.weight)


def normalise(images: Tensor, device: str) -> Tensor:
    """Map `(n, h, w, 3)` uint8 to `(n, 3, h, w)` floats, normalised with ImageNet's mean and deviation."""
    x = images.to(device, non_blocking=True).permute(0, 3, 1, 2).float().div(255)
    mean = torch.tensor(DEFAULTS["mean"].default, device=x.device).view(1, 3, 1, 1)
    std = torch.tensor(DEFAULTS["std"].default, device=x.device).view(1, 3, 1, 1)
    return ((x - mean) / std).contiguous(memory_format=torch.channels_last)


def polynomial(step: int, steps: int) -> float:
    """Return the factor of the poly schedule of segmentation (power 0.9), from 1 to 0."""
    return float((1 - step / steps) ** 0.9)


class Average:
    """An exponential moving average of a network's weights and statistics. The result of a run is this average."""

    def __init__(self, network: nn.Module, decay: float) -> None:
        self.network = copy.deepcopy(network).eval()
        self.decay = decay
        self.updates = 0

    @torch.no_grad()
    def update(self, network: nn.Module) -> None:
        """Move the average a step towards `network`, in larger steps at first so that the initial weights vanish."""
        self.updates += 1
        decay = min(self.decay, self.updates / (self.updates + 10))
        for mine, theirs in zip(self.network.state_dict().values(), network.state_dict().values(), strict=True):
            if mine.is_floating_point():
                mine.lerp_(theirs, 1 - decay)
            else:
                mine.copy_(theirs)


@dataclass
class Run:
    """The state of a run, which is saved in a checkpoint so that an interrupted run can resume."""

    network: nn.Module
    average: Average
    optimizer: torch.optim.Optimizer
    folder: Path
    epoch: int = 0
    seconds: float = 0.0  # of training, of earlier processes too

    def save(self) -> None:
        """Write the checkpoint atomically."""
        self.folder.mkdir(parents=True, exist_ok=True)
        state = {
            "network": self.network.state_dict(),
            "average": self.average.network.state_dict(),
            "updates": self.average.updates,
            "optimizer": self.optimizer.state_dict(),
            "epoch": self.epoch,
            "seconds": self.seconds,
        }
        torch.save(state, self.folder / "checkpoint.tmp")
        (self.folder / "checkpoint.tmp").replace(self.folder / "checkpoint.pt")

    def finish(self, leave_out: str = "-", name: str = "weights.safetensors") -> None:
        """Write the averaged weights in float16, without the keys that begin with `leave_out`."""
        self.folder.mkdir(parents=True, exist_ok=True)
        state = self.average.network.state_dict()
        kept = {
            key: (value.half() if value.is_floating_point() else value).contiguous()
            for key, value in state.items()
            if not key.startswith(leave_out)
        }
        save_file(kept, self.folder / name)

    def resume(self) -> None:
        """Resume from the checkpoint in the folder, if there is one."""
        path = self.folder / "checkpoint.pt"
        if not path.exists():
            return
        state = torch.load(path, weights_only=True)
        self.network.load_state_dict(state["network"])
        self.average.network.load_state_dict(state["average"])
        self.average.updates = state["updates"]
        self.optimizer.load_state_dict(state["optimizer"])
        self.epoch, self.seconds = state["epoch"], state["seconds"]

    def epochs(self, count: int) -> Iterator[int]:
        """Yield the remaining epochs, and save a checkpoint after each."""
        while self.epoch < count:
            yield self.epoch
            self.epoch += 1
            self.save()

    def log(self, started: float, **figures: float) -> None:
        """Write a line of progress to the terminal and to `log.jsonl`."""
        row = {"epoch": self.epoch, **figures, "seconds": round(time.monotonic() - started, 1)}
        print("  ".join(f"{key} {value:.4g}" for key, value in row.items()), flush=True)
        self.folder.mkdir(parents=True, exist_ok=True)
        with (self.folder / "log.jsonl").open("a") as log:
            log.write(json.dumps(row) + "\n")


@dataclass(frozen=True)
class Schedule:
    """The number of epochs, the steps of an epoch, the peak rate, and its factor (step, total steps) -> factor.

    If `seconds` of training would pass before the last step, the schedule follows the time and ends then.
    """

    epochs: int
    steps: int
    rate: float
    factor: Callable[[int, int], float]
    seconds: float = math.inf

    def step(self, run: Run, step: int, started: float) -> int:
        """Return the step of the schedule, of `epochs * steps`, for a step of an epoch begun at `started`."""
        passed = (run.seconds + time.monotonic() - started) / self.seconds
        total = self.epochs * self.steps
        return max(run.epoch * self.steps + step, min(total, int(passed * total)))


def train(
    run: Run,
    schedule: Schedule,
    batches: Callable[[int], Iterable[Batch]],
    loss_of: Callable[[Batch], Tensor],
    score: Callable[[], dict[str, float]],
) -> None:
    """Train `run` on the batches of `batches(epoch)`, and log loss and score after each epoch."""
    total = schedule.epochs * schedule.steps
    for epoch in run.epochs(schedule.epochs):
        if run.seconds >= schedule.seconds:
            break
        started = time.monotonic()
        run.network.train()
        losses: list[float] = []
        for step, batch in enumerate(batches(epoch)):
            at = schedule.step(run, step, started)
            if at >= total and losses:
                break
            set_rate(run.optimizer, schedule.rate * schedule.factor(min(at, total - 1), total))
            loss = loss_of(batch)
            run.optimizer.zero_grad()
            loss.backward()
            run.optimizer.step()
            run.average.update(run.network)
            losses.append(loss.item())
        run.seconds += time.monotonic() - started
        run.log(started, loss=sum(losses) / len(losses), **score())
