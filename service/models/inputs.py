"""What a network is given of a picture, as its card says it: the tables `[input]` and `[best]`."""

from typing import Annotated, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, model_validator

Mean = Annotated[float, Field(allow_inf_nan=False)]
Deviation = Annotated[float, Field(gt=0, allow_inf_nan=False)]


class CardTable(BaseModel):
    """A table of a card: frozen, and without a word that means nothing."""

    model_config = ConfigDict(frozen=True, extra="forbid")


class Input(CardTable):
    """How a picture becomes the network's input; `size` is the square's side, or for `segmentation` the long side.

    `official`: the centred square of size / (size + 32) of the short side, then one bicubic resize (ResNeSt's
    ECenterCrop). `timm`: short side to size / crop_ratio, then the centred square. `whole`: the picture as it is, made
    smaller where its long side is above `size`. `segmentation`: the largest that
    has no side above `size` and, where `short` is there, no short side above that, in the picture's proportions, both
    sides to the nearest multiple of `multiple`.
    """

    profile: Literal["official", "timm", "segmentation", "whole"]
    size: int = Field(ge=32, le=4096)
    short: int | None = Field(default=None, ge=32, le=4096)
    crop_ratio: float = Field(default=0.875, gt=0, le=1)
    interpolation: Literal["bilinear", "bicubic"] = "bicubic"
    multiple: int = Field(default=1, ge=1, le=64)
    mean: tuple[Mean, Mean, Mean] = (0.485, 0.456, 0.406)
    std: tuple[Deviation, Deviation, Deviation] = (0.229, 0.224, 0.225)

    @model_validator(mode="after")
    def _boxed(self) -> Self:
        if self.short is not None and self.short > self.size:
            raise ValueError("the short side may not be longer than size")
        return self

    @property
    def largest(self) -> tuple[int, int]:
        """The most pixels that the long and the short side of a network's input have."""
        long, short = (-(-side // self.multiple) * self.multiple for side in (self.size, self.short or self.size))
        return long, short

    def accepts(self, height: int, width: int) -> bool:
        """Whether a network's input may have these sides."""
        if self.profile in ("official", "timm"):
            return height == width == self.size
        long, short = self.largest
        return 0 < max(height, width) <= long and 0 < min(height, width) <= short

    @property
    def square(self) -> int:
        """The side of a square picture's input, for rehearsals."""
        return self.largest[1]


class Multiscale(CardTable):
    """How `quality=best` sees a picture; `service.tasks.multiscale` says what becomes of it.

    `scales` are times the size of a single pass, and `window` is the side of a window in pixels. Without a deadline of
    its own a picture has ten times the time of a single pass.
    """

    scales: tuple[Annotated[float, Field(ge=0.25, le=4)], ...] = Field(
        default=(0.5, 0.75, 1.0, 1.25, 1.5, 1.75), min_length=1, max_length=12
    )
    window: int | None = Field(default=None, ge=32, le=2048)
    deadline_s: float | None = Field(default=None, gt=0, le=3600)
