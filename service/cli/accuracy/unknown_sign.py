"""The sign of an unknown image for a model whose last layer was just fitted, from the features of its photos."""
# ruff: noqa: PLC0415 - torch is loaded only when a model is trained

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final

import numpy as np
import numpy.typing as npt

from service.cli.accuracy import domain_file
from service.cli.accuracy.domain_file import Features
from service.tasks.classification import calibration
from service.tasks.classification.calibration import Floats

if TYPE_CHECKING:
    from service.engines.training.linear_head import LinearHead

FALSE_ALARMS: Final = 0.05  # share of known images that are called unknown


@dataclass(frozen=True)
class UnknownSign:
    """The table `[calibration]` of a card without `made_of`, the files that it names, and the measured rates."""

    table: Mapping[str, Any]
    rates: Mapping[str, Any]
    files: Mapping[str, bytes] = field(default_factory=dict)


def of_training(head: "LinearHead", known: Features, held_out: Features, others: Features | None = None) -> UnknownSign:
    """Return the sign for a last layer that was fitted to the features of `known` images `(n, d)`.

    Its least value is that of the cross-validation, in which each image was left out once. The images `held_out`
    measure it. Half of the features of `others`, images of other things, fit a domain score, and half measure it.
    Without them the sign is the largest logit, which too few of them measure; this is said.
    """
    import torch

    if others is None or not domain_file.suffice(len(others), 2 * domain_file.LEAST):
        return _largest_logit(head, held_out, others)
    fitted = domain_file.fit(known, others[::2])
    least = calibration.least_sign(fitted.left_out, FALSE_ALARMS)
    domain, content = domain_file.described(fitted.head, least)
    inside, outside = (
        fitted.head.score(torch.from_numpy(each))[:, 0].double().numpy() for each in (held_out, others[1::2])
    )
    rates = _rates(inside, outside, least) | {"others_fitted_on": len(others[::2])}
    return UnknownSign({"temperature": 1.0, "domain": domain.model_dump()}, rates, {domain.file: content})


def _largest_logit(head: "LinearHead", held_out: Features, others: Features | None) -> UnknownSign:
    least = calibration.least_sign(head.left_out.amax(dim=1).double().numpy(), FALSE_ALARMS)

    def signs(features: Features) -> Floats:
        logits = features @ head.weight.double().numpy().T + head.bias.double().numpy()
        largest: Floats = logits.max(axis=1)
        return largest

    rates = _rates(signs(held_out), None if others is None else signs(others), least)
    return UnknownSign({"temperature": 1.0, "min_logit": least}, rates)


def _share(is_below: npt.NDArray[np.bool_]) -> float:
    return round(float(is_below.mean()), calibration.DIGITS)


def _rates(inside: Floats, outside: Floats | None, least: float) -> dict[str, Any]:
    """Return the measured rates, by the signs of the held-out images and of the images of other things."""
    rates: dict[str, Any] = {"images": len(inside), "false_alarms": _share(inside < least)}
    if outside is None:
        return rates
    area = round(calibration.auroc(inside, outside), calibration.DIGITS)
    return {**rates, "others": len(outside), "found": _share(outside < least), "auroc": area}
