"""Colours of detections: each of a class has another shade, so that neighbours differ."""

import colorsys
from collections import Counter
from collections.abc import Sequence
from typing import Final

from service.imaging.masks import Colour

# Different colours of one class. An image has fewer detections.
SHADES: Final = 128

# Lightness (HLS) of a shade: 0 is black, and 1 is white.
DARKEST, BRIGHTEST = 0.25, 0.8

# Turns of the colour wheel. After so many shades the hue differs by 15 degrees.
HUES: Final = (0.0, 1 / 24, -1 / 24)
OF_HUE: Final = 4

LEVELS: Final = 255


def instance_colours(colours: Sequence[Colour]) -> list[Colour]:
    """Return the colour of each detection, given that of its class: the first with a colour has that colour itself.

    The others have its hue, give or take 15 degrees, in another lightness. `SHADES` detections of one colour differ,
    and those that follow each other differ most. The colour of a detection does not depend on those after it.
    """
    counts: Counter[Colour] = Counter()
    found = []
    for colour in colours:
        found.append(_shade(colour, counts[colour] % SHADES))
        counts[colour] += 1
    return found


def _shade(colour: Colour, index: int) -> Colour:
    """Return the shade number `index`, below `SHADES`, of a colour. Number 0 is the colour itself."""
    if index == 0:
        return colour
    hue, lightness, saturation = colorsys.rgb_to_hls(*(level / LEVELS for level in colour))
    reach = BRIGHTEST - DARKEST
    start = min(max(lightness - DARKEST, 0.0), reach) / reach
    place = (start + _reversed_bits(index) / SHADES) % 1
    turned = (hue + HUES[index // OF_HUE % len(HUES)]) % 1
    red, green, blue = colorsys.hls_to_rgb(turned, DARKEST + place * reach, saturation)
    return round(red * LEVELS), round(green * LEVELS), round(blue * LEVELS)


def _reversed_bits(index: int) -> int:
    """Return the bits of a number below `SHADES` in reverse: 1, 2, 3 become a half, a quarter, three quarters of it."""
    width = SHADES.bit_length() - 1
    return int(f"{index:0{width}b}"[::-1], 2)
