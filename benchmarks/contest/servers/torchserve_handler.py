"""The handler that people write for TorchServe: the upload comes as it was sent, and everything happens here."""

from typing import Any

from benchmarks.contest import model


class Pictures:
    """The model behind TorchServe's two calls."""

    def initialize(self, _: Any) -> None:
        """Load the model."""
        self.model = model.load()

    def handle(self, data: list[dict[str, Any]], _: Any) -> list[Any]:
        """One batch of uploads."""
        return self.model.predict([self.model.decode(bytes(row["body"])) for row in data])
