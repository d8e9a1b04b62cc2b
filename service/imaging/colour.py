"""Converts every pixel format that an accepted file can have to 8-bit sRGB.

There are two steps, each with a table by Pillow mode. The first converts to one of the base modes L, RGB, CMYK and LAB,
composites alpha on white and reduces 16 bits to 8. The second converts to RGB, through the image's own ICC profile if
it has a usable one.
"""

import io
import re
from collections.abc import Callable

import numpy as np
from PIL import Image, ImageCms

from service.errors import ImageModeUnsupported

ALPHA_COMPOSITED = "alpha_composited"
DEPTH_REDUCED = "depth_reduced"
PROFILE_IGNORED = "icc_profile_ignored"

MAX_PROFILE_BYTES = 1_000_000

SRGB_GAMMA = 1 / 2.2  # as PNG's gAMA chunk says it of sRGB

# Descriptions of profiles that are sRGB. Others that begin with its name are linear (sRGB-elle-V2-g10) or have other
# primaries, and are converted.
SRGB_PROFILE = re.compile(r"(c2|sRGB|sRGB built-in|sRGB2014|sRGB IEC61966-2[.-]1.*)\0?")

# TIFF tags: bits per sample, and the meaning of its zero (0 where zero is white).
BITS_PER_SAMPLE, PHOTOMETRIC = 258, 262

Flattened = tuple[Image.Image, tuple[str, ...]]


def check_mode(mode: str) -> None:
    """Raise `ImageModeUnsupported` for a Pillow mode without a standard conversion to RGB."""
    if mode not in FLATTEN:
        raise ImageModeUnsupported(f"The pixel format {mode} has no standard conversion to RGB.")


def to_rgb(image: Image.Image) -> Flattened:
    """Return the loaded image as 8-bit sRGB, and a warning for each loss of information.

    The result is `image` itself if it is plain RGB already. The mode must be one that `check_mode` accepts.
    """
    base, warnings = FLATTEN[image.mode](image)
    if "icc_profile" in image.info:  # it is None if Pillow could not read it
        profile = image.info["icc_profile"]
        managed = _through_profile(base, profile) if profile else None
        if managed is not None:
            return managed, warnings
        warnings = (*warnings, PROFILE_IGNORED)
    return _through_gamma(UNMANAGED[base.mode](base), image), warnings


def _keep(image: Image.Image) -> Flattened:
    if "transparency" in image.info:
        return _alpha(image.convert("LA" if image.mode == "L" else "RGBA"))
    return image, ()


def _grey(image: Image.Image) -> Flattened:
    # Pillow stores a bilevel image's transparent value as 0 or 255, as L needs it.
    return _keep(image.convert("L"))


def _palette(image: Image.Image) -> Flattened:
    if image.has_transparency_data:
        return _alpha(image.convert("RGBA"))
    return image.convert("RGB"), ()


def _alpha(image: Image.Image) -> Flattened:
    opaque_mode = {"LA": "L", "RGBA": "RGB"}[image.mode]
    if image.getchannel("A").getextrema()[0] == 255:
        return image.convert(opaque_mode), ()
    white = Image.new(opaque_mode, image.size, "white")
    white.paste(image, mask=image)
    return white, (ALPHA_COMPOSITED,)


def _reduce_depth(image: Image.Image) -> Flattened:
    """Scale 16 bits to 8. Pillow's own conversion clips at 255, which turns nearly every such image white."""
    tags = getattr(image, "tag_v2", {})
    bits = tags.get(BITS_PER_SAMPLE, (16,))[0]
    reduced = (np.asarray(image) >> (bits - 8)).astype(np.uint8)
    if tags.get(PHOTOMETRIC) == 0:
        reduced = 255 - reduced
    if isinstance(transparent := image.info.get("transparency"), int):
        hidden = np.asarray(image) == transparent
        reduced[hidden] = 255
        return Image.fromarray(reduced), (DEPTH_REDUCED, *((ALPHA_COMPOSITED,) if hidden.any() else ()))
    return Image.fromarray(reduced), (DEPTH_REDUCED,)


def _as(mode: str, then: Callable[[Image.Image], Flattened]) -> Callable[[Image.Image], Flattened]:
    return lambda image: then(image.convert(mode))


FLATTEN: dict[str, Callable[[Image.Image], Flattened]] = {
    "1": _grey,
    "L": _keep,
    "LA": _alpha,
    "La": _as("LA", _alpha),
    "P": _palette,
    "PA": _as("RGBA", _alpha),
    "RGB": _keep,
    "RGBA": _alpha,
    "RGBa": _as("RGBA", _alpha),
    "RGBX": _as("RGB", _keep),
    "YCbCr": _as("RGB", _keep),
    "CMYK": _keep,
    "LAB": _keep,
    "I;16": _reduce_depth,
    "I;16L": _reduce_depth,
    "I;16B": _reduce_depth,
    "I;16N": _reduce_depth,
}


def _lab(image: Image.Image) -> Image.Image:
    converted = ImageCms.profileToProfile(
        image, ImageCms.createProfile("LAB"), ImageCms.createProfile("sRGB"), outputMode="RGB"
    )
    assert converted is not None  # noqa: S101 - None is for inPlace only
    return converted


UNMANAGED: dict[str, Callable[[Image.Image], Image.Image]] = {
    "L": lambda image: image.convert("RGB"),
    "RGB": lambda image: image,
    "CMYK": lambda image: image.convert("RGB"),
    "LAB": _lab,
}


def _through_gamma(rgb: Image.Image, source: Image.Image) -> Image.Image:
    """Return the image for a display of sRGB, if `source` is a PNG with another gamma and no colour space.

    Browsers do so, too (PNG, third edition, 13.13). The exponents of sRGB and of most files differ by less than 5 %.
    """
    gamma = source.info.get("gamma", 0)
    if gamma <= 0 or "srgb" in source.info or "icc_profile" in source.info:
        return rgb
    exponent = SRGB_GAMMA / gamma
    if abs(exponent - 1) < 0.05:
        return rgb
    return rgb.point([round(255 * (level / 255) ** exponent) for level in range(256)] * 3)


# The base mode that a profile is for, by the colour space in its header (ICC.1, section 7.2.6).
PROFILE_MODES = {"RGB ": "RGB", "GRAY": "L", "CMYK": "CMYK", "Lab ": "LAB"}


def _through_profile(image: Image.Image, profile: bytes) -> Image.Image | None:
    """Return the image in sRGB, or None if the profile is too large, broken or for another mode."""
    if len(profile) > MAX_PROFILE_BYTES:
        return None
    try:
        source = ImageCms.ImageCmsProfile(io.BytesIO(profile))
        if PROFILE_MODES.get(source.profile.xcolor_space) != image.mode:
            return None
        if image.mode == "RGB" and SRGB_PROFILE.fullmatch(ImageCms.getProfileDescription(source).strip()):
            return image
        return ImageCms.profileToProfile(image, source, ImageCms.createProfile("sRGB"), outputMode="RGB")
    except (ImageCms.PyCMSError, OSError, ValueError, TypeError):
        return None
