"""The card's table `[calibration]`: what a classifier's scores are worth, and from where on they are worth nothing."""

from typing import Annotated, Self

from pydantic import Field, model_validator

from service.models.inputs import CardTable

Finite = Annotated[float, Field(allow_inf_nan=False)]
Sha256 = Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]


class Domain(CardTable):
    """The domain score: its `file` beside the card, with the SHA-256 of that, and the least score of a known image.

    The file has a linear layer on the features before the last layer (`service.tasks.classification.domain_head`).
    """

    file: Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9-]*\.safetensors$")]
    sha256: Sha256
    min_score: Finite


class Calibration(CardTable):
    """What `calibrate` found with the weights whose SHA-256 is `made_of`, and writes.

    The logits are divided by `temperature` before the softmax (Guo et al., arXiv 1706.04599). An image is outside the
    model's domain if its domain score is below that of `domain` or, without one, its largest logit is below `min_logit`
    (Hendrycks et al., arXiv 1911.11132).
    """

    temperature: Annotated[Finite, Field(gt=0)] = 1.0
    min_logit: Finite | None = None
    domain: Domain | None = None
    made_of: Sha256

    @model_validator(mode="after")
    def _require_one_sign(self) -> Self:
        if (self.min_logit is None) is (self.domain is None):
            raise ValueError("a calibration has either min_logit or domain")
        return self
