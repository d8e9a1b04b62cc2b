"""The card's table `[calibration]`: what a classifier's scores are worth, and from where on they are worth nothing."""

from typing import Annotated

from pydantic import Field

from service.models.inputs import CardTable

Finite = Annotated[float, Field(allow_inf_nan=False)]


class Calibration(CardTable):
    """What `calibrate` found with the weights whose SHA-256 is `made_of`, and writes.

    The logits are divided by `temperature` before the softmax (Guo et al., arXiv 1706.04599). An image is outside the
    model's domain if its largest logit is below `min_logit` (Hendrycks et al., arXiv 1911.11132).
    """

    temperature: Annotated[Finite, Field(gt=0)] = 1.0
    min_logit: Finite
    made_of: Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]
