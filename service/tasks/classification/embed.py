"""`POST /v1/embed`: images to vectors that are close to each other where the images are alike."""

import base64
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np

from service.models.cards import ModelCard
from service.tasks.base import DecodedFacts, Drawn, Endpoint, ModelOutput, Rendering
from service.tasks.classification import examples
from service.tasks.classification.schema import EmbedQuery, EmbedResponse
from service.tasks.frame import Array


@dataclass(frozen=True)
class Vector(Rendering):
    """The features of each image in an encoding, scaled to length 1 with `normalise`."""

    encoding: str
    normalise: bool
    operation: str = "embed"

    def members(self, _card: ModelCard, _facts: DecodedFacts, output: ModelOutput, _drawn: Drawn) -> dict[str, Any]:
        """Return the embedding."""
        return {"embedding": self.document(output.arrays["embedding"])}

    def document(self, features: Array) -> dict[str, Any]:
        """Return an `Embedding` document. A vector of zeros stays as it is."""
        length = float(np.linalg.norm(features)) if self.normalise else 1.0
        scaled = np.ascontiguousarray(features / np.float32(length or 1.0), "<f4")
        data = base64.b64encode(scaled.data).decode("ascii") if self.encoding == "base64" else scaled
        return {"encoding": self.encoding, "dimensions": scaled.size, "data": data}


def plan(_cards: Sequence[ModelCard], query: EmbedQuery) -> Vector:
    """Return what the query asks for."""
    return Vector(query.encoding, query.normalise)


EMBED: Final = Endpoint(
    path="/v1/embed",
    summary="Embed images",
    description="Return the features of each image: the input of a classifier's last layer, for search and training.",
    query=EmbedQuery,
    responses=(EmbedResponse,),
    examples=examples.embed,
    plan=plan,
    operation=lambda _query: "embed",
    has_labels=False,
)
