"""A linear classifier on features: logistic regression, whose L2 penalty and temperature cross-validation chooses.

Every label has the same weight, however many images it has. scikit-learn's `LogisticRegression` with
`class_weight="balanced"` minimises the same loss, and tests compare with it.
"""

from dataclasses import dataclass
from typing import Final, Self

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn
from torch.nn import functional

from service.models.cards import CardError

PENALTIES: Final = tuple(10.0**-exponent for exponent in range(7))  # the strongest first
TEMPERATURES: Final[tuple[float, ...]] = tuple(np.exp(np.linspace(-1.5, 1.5, 61)).tolist())
ITERATIONS: Final = 300  # of L-BFGS; most fits need fewer than 100

Features = npt.NDArray[np.float32]
Ids = npt.NDArray[np.int64]


@dataclass(frozen=True)
class LinearHead:
    """The weight `(classes, features)` and the bias `(classes,)` of a network's last layer, in float32.

    `penalty` and `temperature` were chosen by `log_loss`, which is that of images that were left out, each in turn.
    `mean_recall` is of the same images. Every label counts the same in both. `left_out` has the logits `(n, classes)`
    of these images, each by the head that was fitted without it.
    """

    weight: Tensor
    bias: Tensor
    penalty: float
    temperature: float
    log_loss: float
    mean_recall: float
    left_out: Tensor

    def layer(self) -> nn.Linear:
        """Return the head as a layer of its own memory."""
        layer = nn.Linear(self.weight.shape[1], self.weight.shape[0])
        with torch.no_grad():
            layer.weight.copy_(self.weight)
            layer.bias.copy_(self.bias)
        return layer


@dataclass(frozen=True)
class _Basis:
    """Coordinates in which features `(n, d)` are centred, have length 1 on average, and at most n dimensions.

    The optimum with an L2 penalty is a combination of the features, so that no other dimension can have a weight.
    """

    mean: Tensor
    axes: Tensor | None  # (d, r); None keeps all dimensions
    scale: float

    @classmethod
    def of(cls, features: Tensor) -> Self:
        mean = features.mean(dim=0)
        centred = features - mean
        scale = float(centred.square().sum(dim=1).mean().sqrt()) or 1.0
        if len(features) > features.shape[1]:
            return cls(mean, None, scale)
        axes, _ = torch.linalg.qr(centred.T)  # a quarter of the time of a singular value decomposition
        return cls(mean, axes, scale)

    def apply(self, features: Tensor) -> Tensor:
        centred = (features - self.mean) / self.scale
        return centred if self.axes is None else centred @ self.axes

    def undo(self, head: Tensor) -> tuple[Tensor, Tensor]:
        """Return weight and bias on the features themselves, for a head `(r + 1, classes)` on the coordinates."""
        weight = head[:-1] if self.axes is None else self.axes @ head[:-1]
        weight = weight.T / self.scale
        return weight, head[-1] - weight @ self.mean


def fit(features: Features, class_ids: Ids, folds: Ids) -> LinearHead:
    """Return the head for features `(n, d)`. `folds` has the part of each image in the cross-validation.

    Every class must occur outside each fold. Raises `CardError` for features that are not finite.
    """
    if not np.isfinite(features).all():
        raise CardError("the features of some photos are not finite numbers, so nothing can be fitted to them")
    x, y = torch.from_numpy(features).double(), torch.from_numpy(class_ids)
    classes = int(y.max()) + 1
    left_out = torch.zeros(len(PENALTIES), len(x), classes, dtype=x.dtype)
    for fold in np.unique(folds):
        outside = torch.from_numpy(folds == fold)
        basis = _Basis.of(x[~outside])
        given = basis.apply(x[outside])
        for index, head in enumerate(_path(basis.apply(x[~outside]), y[~outside], classes, len(PENALTIES))):
            left_out[index, outside] = given @ head[:-1] + head[-1]
    losses = [log_loss(logits, y) for logits in left_out]
    best = int(np.argmin(losses))
    temperature = fit_temperature(left_out[best], y)
    basis = _Basis.of(x)
    weight, bias = basis.undo(_path(basis.apply(x), y, classes, best + 1)[-1] / temperature)
    return LinearHead(
        weight.float(),
        bias.float(),
        PENALTIES[best],
        temperature,
        log_loss(left_out[best] / temperature, y),
        mean_recall(left_out[best], y),
        left_out[best] / temperature,
    )


def log_loss(logits: Tensor, class_ids: Tensor) -> float:
    """Return the mean over the labels of the cross entropy of their images."""
    return float(functional.cross_entropy(logits, class_ids, weight=_weights(class_ids, logits.shape[1]).to(logits)))


def mean_recall(logits: Tensor, class_ids: Tensor) -> float:
    """Return the mean over the labels of the share of their images that get the right label."""
    right = (logits.argmax(dim=1) == class_ids).double()
    return float(torch.stack([right[class_ids == each].mean() for each in class_ids.unique()]).mean())


def fit_temperature(logits: Tensor, class_ids: Tensor) -> float:
    """Return the number by which to divide the logits for the lowest loss (Guo et al., arXiv 1706.04599)."""
    return min(TEMPERATURES, key=lambda each: log_loss(logits / each, class_ids))


def _weights(class_ids: Tensor, classes: int) -> Tensor:
    """Return a weight for each class, so that all classes have the same sum. A class without an image has none."""
    counts = torch.bincount(class_ids, minlength=classes).double()
    return torch.where(counts > 0, 1 / counts.clamp_min(1), 0.0)


def _path(x: Tensor, y: Tensor, classes: int, count: int) -> list[Tensor]:
    """Return the heads for the first penalties. Each begins at the one before, which is close to it."""
    weights = _weights(y, classes)
    found = [torch.zeros(x.shape[1] + 1, classes, dtype=x.dtype)]
    for penalty in PENALTIES[:count]:
        found.append(_minimise(x, y, weights, penalty, found[-1]))
    return found[1:]


def _minimise(x: Tensor, y: Tensor, weights: Tensor, penalty: float, start: Tensor) -> Tensor:
    head = start.clone().requires_grad_()
    optimizer = torch.optim.LBFGS(
        [head],
        max_iter=ITERATIONS,
        tolerance_grad=1e-5,
        tolerance_change=1e-8,
        history_size=10,
        line_search_fn="strong_wolfe",
    )

    def closure() -> Tensor:
        optimizer.zero_grad()
        loss = functional.cross_entropy(x @ head[:-1] + head[-1], y, weight=weights)
        loss = loss + penalty / 2 * head[:-1].square().sum()
        loss.backward()
        return loss

    optimizer.step(closure)
    return head.detach()
