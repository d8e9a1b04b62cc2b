"""A plain TorchServe handler: it gets the uploads unchanged, decodes them and runs the network."""

from typing import Any

from benchmarks.contest import model


class ImageHandler:
    """The model behind the two calls that TorchServe makes."""

    def initialize(self, _: Any) -> None:
        """Load the model."""
        self.model = model.load()

    def handle(self, data: list[dict[str, Any]], _: Any) -> list[Any]:
        """Return the answers to one batch of uploads."""
        return self.model.predict([self.model.decode(bytes(row["body"])) for row in data])
