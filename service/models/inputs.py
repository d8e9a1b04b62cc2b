"""How an image becomes the input of a network: the card's tables `[input]` and `[multiscale]`."""

from typing import Annotated, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, model_validator

Mean = Annotated[float, Field(allow_inf_nan=False)]
Deviation = Annotated[float, Field(gt=0, allow_inf_nan=False)]


class CardTable(BaseModel):
    """A table of a card: immutable, and an unknown key is an error."""

    model_config = ConfigDict(frozen=True, extra="forbid")


class Input(CardTable):
    """How an image becomes the network's input. `size`, in pixels, is the side of the square or the maximum long side.

    Profile `official` crops the centred square of size / (size + 32) of the short side, then resizes it once, bicubic
    (ResNeSt's ECenterCrop). Profile `timm` resizes the short side to size / crop_ratio, then crops the centred square.
    Profile `whole` shrinks an image only if its long side is above `size`. Profile `proportional` resizes to the
    largest size of the same aspect ratio whose long side is at most `size` and short side at most `short`, if set. It
    then rounds both sides to the nearest multiple of `multiple`.

    `interpolation` is Pillow's filter, which is stretched when an image shrinks, or `opencv_linear`: bilinear between
    the four nearest pixels at every scale (OpenCV's INTER_LINEAR).

    `resizer` selects the code of Pillow's filters: `simd` (cykooz-resizer) or `pillow`, with which the published scores
    were measured. Both apply the same filter and differ in rounding.
    """

    profile: Literal["official", "timm", "proportional", "whole"]
    size: int = Field(ge=32, le=4096)
    short: int | None = Field(default=None, ge=32, le=4096)
    crop_ratio: float = Field(default=0.875, gt=0, le=1)
    interpolation: Literal["bilinear", "bicubic", "opencv_linear"] = "bicubic"
    resizer: Literal["simd", "pillow"] = "simd"
    multiple: int = Field(default=1, ge=1, le=64)
    mean: tuple[Mean, Mean, Mean] = (0.485, 0.456, 0.406)
    std: tuple[Deviation, Deviation, Deviation] = (0.229, 0.224, 0.225)

    @model_validator(mode="after")
    def _check_short_side(self) -> Self:
        if self.short is not None and self.short > self.size:
            raise ValueError("the short side may not be longer than size")
        if self.interpolation == "opencv_linear" and self.profile in ("official", "timm"):
            raise ValueError("opencv_linear resizes whole images, and these profiles crop")
        return self

    @property
    def largest(self) -> tuple[int, int]:
        """Return the maximum of the long and of the short side of the network's input, in pixels."""
        long, short = (-(-side // self.multiple) * self.multiple for side in (self.size, self.short or self.size))
        return long, short

    def accepts(self, height: int, width: int) -> bool:
        """Return whether an input of this height and width, in pixels, is possible."""
        if self.profile in ("official", "timm"):
            return height == width == self.size
        long, short = self.largest
        return 0 < max(height, width) <= long and 0 < min(height, width) <= short

    @property
    def square(self) -> int:
        """Return the side, in pixels, of the largest square input, for warm-up passes."""
        return self.largest[1]


class Multiscale(CardTable):
    """The multi-scale protocol of `quality=best`, which `service.tasks.segmentation.multiscale` implements.

    `scales` are multiples of the size of a single pass; `window` is the side of a sliding window in pixels. If
    `deadline_s` is not set, the deadline is ten times that of a single pass.
    """

    scales: tuple[Annotated[float, Field(ge=0.25, le=4)], ...] = Field(
        default=(0.5, 0.75, 1.0, 1.25, 1.5, 1.75), min_length=1, max_length=12
    )
    window: int | None = Field(default=None, ge=32, le=2048)
    deadline_s: float | None = Field(default=None, gt=0, le=3600)
