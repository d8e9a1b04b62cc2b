"""Train the last stages of a classifier, by the recipe of the ResNeSt paper (arXiv 2004.08955, section 5.1)."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from PIL import Image
from torch import Tensor, nn
from torch.nn import functional
from torch.nn.utils import clip_grad_norm_
from torch.utils.data import DataLoader

from service.engines import graph
from service.engines.graph import Graph
from service.engines.training.augment import mixup
from service.engines.training.augmented_images import AugmentedImages
from service.engines.training.linear_head import LinearHead, fit_temperature, log_loss, mean_recall
from service.engines.training.optimisation import bfloat16, cosine, optimiser, seed_everything, set_rate, to_device
from service.models.cards import CardError, ModelCard

SCALE = (0.35, 1.0)  # of the area in a crop; smaller crops miss what distinguishes labels of few images

CLIP = 1.0  # norm of the gradients; large features otherwise make the first steps diverge

Pixels = npt.NDArray[np.uint8]
OnEpoch = Callable[[int, float, float], object]


@dataclass(frozen=True)
class Recipe:
    """The options of a fine-tuning, with the paper's names.

    `stages` are trained, counted from the last one. `learning_rate` is the peak of a cosine, after `warm_up` epochs in
    which the rate rises. `weight_decay` is for matrices only. `mixup` is its alpha, `rand_augment` the magnitude of 30.
    """

    epochs: int
    batch_size: int
    learning_rate: float
    warm_up: int
    weight_decay: float
    label_smoothing: float
    mixup: float
    rand_augment: int
    stages: int
    seed: int


@dataclass(frozen=True)
class Examples:
    """Images to train on, prepared inputs `(n, h, w, 3)` to calibrate with, and the class ids of both."""

    images: Sequence[Image.Image]
    class_ids: Sequence[int]
    validation: Pixels
    validation_ids: npt.NDArray[np.int64]


@dataclass(frozen=True)
class FineTuned:
    """The weights by key, and what they reach on the validation inputs, where every label counts the same."""

    state: dict[str, Tensor]
    temperature: float
    log_loss: float
    mean_recall: float


def fine_tune(
    card: ModelCard, head: LinearHead, examples: Examples, recipe: Recipe, on_epoch: OnEpoch | None = None
) -> FineTuned:
    """Return the card's network with `head`, trained further.

    BatchNorm keeps its statistics, because few images have poor ones. The logits are divided by the temperature that
    fits the validation inputs. `on_epoch` gets the number of finished epochs, the loss and the validation mean recall.
    Raises `CardError` if the weights are not finite at the end.
    """
    seed_everything(recipe.seed)
    device = graph.device_of(None)
    module = graph.build(card)
    module.network.fc = head.layer()
    trained = _trained(to_device(module, device).network, recipe.stages)
    _train(module, trained, examples, recipe, on_epoch)
    logits, ids = _logits(module, examples.validation), torch.from_numpy(examples.validation_ids)
    if not bool(logits.isfinite().all()):
        raise CardError("the fine-tuning diverged; try a smaller --learning-rate")
    temperature = fit_temperature(logits, ids)
    with torch.no_grad():
        for parameter in module.network.get_submodule("fc").parameters():
            parameter.div_(temperature)
    state = {key: value.detach().cpu().contiguous() for key, value in module.network.state_dict().items()}
    return FineTuned(state, temperature, log_loss(logits / temperature, ids), mean_recall(logits, ids))


def _trained(network: nn.Module, stages: int) -> list[nn.Module]:
    """Return the modules to train, and let only them have gradients."""
    network.requires_grad_(requires_grad=False)
    modules = [network.get_submodule(name) for name in (*(f"layer{5 - each}" for each in range(1, stages + 1)), "fc")]
    for module in modules:
        module.requires_grad_(requires_grad=True)
    return modules


def _train(
    module: Graph, trained: list[nn.Module], examples: Examples, recipe: Recipe, on_epoch: OnEpoch | None
) -> None:
    size = examples.validation.shape[1]
    crops = AugmentedImages(examples.images, examples.class_ids, size, recipe.rand_augment, SCALE)
    batch = min(recipe.batch_size, len(crops))
    loader: DataLoader[Any] = DataLoader(crops, batch, shuffle=True, drop_last=True)
    optimizer = optimiser([(each, 1.0) for each in trained], recipe.learning_rate, recipe.weight_decay)
    weights = _class_weights(examples.class_ids)
    total = recipe.epochs * len(loader)
    for epoch in range(recipe.epochs):
        losses = []
        for index, (pixels, class_ids) in enumerate(loader):
            factor = cosine(epoch * len(loader) + index, total, min(0.5, recipe.warm_up / recipe.epochs))
            set_rate(optimizer, recipe.learning_rate * factor)
            loss = _loss(module, pixels, class_ids, weights, recipe)
            optimizer.zero_grad()
            loss.backward()
            clip_grad_norm_([each for group in optimizer.param_groups for each in group["params"]], CLIP)
            optimizer.step()
            losses.append(loss.item())
        if on_epoch:
            ids = torch.from_numpy(examples.validation_ids)
            on_epoch(epoch + 1, float(np.mean(losses)), mean_recall(_logits(module, examples.validation), ids))


def _class_weights(class_ids: Sequence[int]) -> Tensor:
    """Return a weight for each class, 1 on average over the images, so that all classes have the same sum."""
    counts = torch.bincount(torch.tensor(class_ids)).float()
    return len(class_ids) / (len(counts) * counts.clamp_min(1))


def _loss(module: Graph, pixels: Tensor, class_ids: Tensor, weights: Tensor, recipe: Recipe) -> Tensor:
    device = module.normalise.get_buffer("shift").device
    x = module.normalise(pixels.to(device)).contiguous(memory_format=torch.channels_last)
    targets = (functional.one_hot(class_ids, len(weights)).float() * weights).to(device)
    if recipe.mixup:
        x, targets = mixup(x, targets, recipe.mixup)
    total = targets.sum(dim=1, keepdim=True)
    targets = targets * (1 - recipe.label_smoothing) + recipe.label_smoothing * total / len(weights)
    with bfloat16(str(device)):
        logits = module.network(x)
    loss: Tensor = -(targets * logits.float().log_softmax(dim=1)).sum(dim=1).mean()
    return loss


@torch.inference_mode()
def _logits(module: Graph, pixels: Pixels) -> Tensor:
    """Return the logits `(n, classes)` of prepared inputs, in float32 on the CPU."""
    device = module.normalise.get_buffer("shift").device
    parts = [graph.to_tensor(part, device) for part in np.array_split(pixels, max(1, len(pixels) // 32))]
    return torch.cat([module(part).float().cpu() for part in parts])
