"""Draws detections over an image: their masks, boxes and labels."""

import io
import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from PIL import Image, ImageDraw, ImageFont

from service.imaging.drawing.instance_masks import paste, window_of
from service.imaging.drawing.instance_runs import Box
from service.imaging.masks import ENCODER_OPTIONS, Colour, Mask

ALPHA: Final = 0.45  # of a mask's colour
# Shares of the shorter side of the image, with their bounds in pixels.
LINE: Final = (1 / 250, 2, 16)
TEXT: Final = (1 / 32, 12, 96)
MARGIN: Final = 0.25  # around a text, in text heights
LUMINANCE: Final = (0.299, 0.587, 0.114)  # of red, green and blue (ITU-R BT.601)
BRIGHT: Final = 140  # luminance from which a text on a colour is black
BLACK: Final = (0, 0, 0)
WHITE: Final = (255, 255, 255)


@dataclass(frozen=True)
class DrawnInstance:
    """A detection to draw: its box in pixels, its text and colour, and its mask, as `instance_masks.paste` takes it."""

    box: Box
    text: str
    colour: Colour
    mask: Mask | None = None


def drawable(label: str, class_id: int) -> str:
    """Return what stands for a label in an overlay: the label without accents, or `#` and its class id.

    Pillow's own font has ASCII alone, and draws every other character as the same empty rectangle.
    """
    plain = "".join(each for each in unicodedata.normalize("NFKD", label) if not unicodedata.combining(each))
    return plain if plain.isascii() else f"#{class_id}"


def overlay(image: Image.Image, instances: Sequence[DrawnInstance], kind: str = "PNG") -> bytes:
    """Return the image with these detections over it, as a file of a `kind` of `masks.ENCODER_OPTIONS`.

    The first detection is drawn last, over the others. All masks are below all boxes, and all texts are on top.
    """
    drawn = image.copy()
    behind = list(reversed(instances))
    for each in behind:
        if each.mask is not None:
            _draw_mask(drawn, each, each.mask)
    canvas = ImageDraw.Draw(drawn)
    line = _share(image, LINE)
    for each in behind:
        _draw_box(canvas, each, line)
    font = ImageFont.load_default(_share(image, TEXT))
    for each in behind:
        _draw_text(canvas, each, font, image.size)
    out = io.BytesIO()
    drawn.save(out, kind, **ENCODER_OPTIONS[kind])
    return out.getvalue()


def _share(image: Image.Image, bounds: tuple[float, int, int]) -> int:
    share, least, most = bounds
    return min(most, max(least, round(min(image.size) * share)))


def _draw_mask(drawn: Image.Image, each: DrawnInstance, mask: Mask) -> None:
    window = window_of(each.box, *drawn.size)
    if window[0] == window[2] or window[1] == window[3]:
        return
    covered = Image.fromarray(paste(mask, each.box, window) * round(255 * ALPHA))
    drawn.paste(each.colour, window, covered)


def _draw_box(canvas: ImageDraw.ImageDraw, each: DrawnInstance, line: int) -> None:
    """Draw the box inside a thin line that is black or white, whichever differs more from its colour."""
    left, top, right, bottom = (round(side) for side in each.box)
    right, bottom = max(left, right - 1), max(top, bottom - 1)
    canvas.rectangle((left, top, right, bottom), outline=_contrast(each.colour), width=line + 1)
    if right - left > 2 and bottom - top > 2:
        canvas.rectangle((left + 1, top + 1, right - 1, bottom - 1), outline=each.colour, width=line)


def _draw_text(
    canvas: ImageDraw.ImageDraw,
    each: DrawnInstance,
    font: ImageFont.FreeTypeFont | ImageFont.ImageFont,
    size: tuple[int, int],
) -> None:
    """Write the text on its colour, above the box or, where there is no room, inside of its top."""
    left, top, right, bottom = canvas.textbbox((0, 0), each.text, font)
    margin = round((bottom - top) * MARGIN) + 1
    width, height = right - left + 2 * margin, bottom - top + 2 * margin
    x = min(max(0, round(each.box[0])), max(0, size[0] - round(width)))
    above = round(each.box[1]) - round(height)
    y = above if above >= 0 else min(max(0, round(each.box[1])), max(0, size[1] - round(height)))
    canvas.rectangle((x, y, x + width - 1, y + height - 1), fill=each.colour)
    canvas.text((x + margin - left, y + margin - top), each.text, fill=_contrast(each.colour), font=font)


def _contrast(colour: Colour) -> Colour:
    """Return black for a bright colour, and white for a dark one."""
    bright = sum(share * level for share, level in zip(LUMINANCE, colour, strict=True)) >= BRIGHT
    return BLACK if bright else WHITE
