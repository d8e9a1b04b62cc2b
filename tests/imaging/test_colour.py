"""Every pixel format, read from a file that has it, converted to RGB."""

import struct
import zlib
from collections.abc import Callable
from typing import Literal

import numpy as np
import pytest
from PIL import Image, ImageCms

from service.errors import ImageModeUnsupported
from service.imaging import colour
from service.imaging.decoder import DecodedImage, ImageLimits, decode
from tests.odd_images import CORPUS, black_ink_profile, chunk, encode, grey_profile, png, tiff, upright, upright_image
from tests.odd_images import profile as made_profile

W, H = 16, 16
WHITE, RED, GREY = (255, 255, 255), (200, 30, 30), (120, 120, 120)


def read(data: bytes) -> DecodedImage:
    return decode(data, ImageLimits())


def flat(*samples: int, kind: str = "B") -> bytes:
    """Return the samples of one pixel, repeated for a 16 x 16 image."""
    return np.array(samples * (W * H), kind).tobytes()


def idat(row: bytes) -> bytes:
    return chunk(b"IDAT", zlib.compress((b"\0" + row) * H))


COMPOSITED, REDUCED = (colour.ALPHA_COMPOSITED,), (colour.DEPTH_REDUCED,)
PALETTE = [0] * 256 * 3
PALETTE[1], PALETTE[257], PALETTE[513] = 0xC8C8, 0x1E1E, 0x1E1E

# By description: the file's bytes, the reported mode, one pixel's colour, and the warnings.
FILES: dict[str, tuple[bytes, str, tuple[int, int, int], tuple[str, ...]]] = {
    "1 white": (png(W, H, idat(b"\xff\xff"), depth=1, colour=0), "1", WHITE, ()),
    "1 black": (png(W, H, idat(b"\0\0"), depth=1, colour=0), "1", (0, 0, 0), ()),
    "1 transparent white": (
        png(W, H, chunk(b"tRNS", b"\0\1"), idat(b"\xff\xff"), depth=1, colour=0), "1", WHITE, COMPOSITED),
    "1 transparent black": (
        png(W, H, chunk(b"tRNS", b"\0\0"), idat(b"\0\0"), depth=1, colour=0), "1", WHITE, COMPOSITED),
    "L": (png(W, H, idat(b"\x78" * W), colour=0), "L", GREY, ()),
    "L of 2 bits": (png(W, H, idat(b"\x55" * 4), depth=2, colour=0), "L", (85, 85, 85), ()),
    "L transparent": (png(W, H, chunk(b"tRNS", b"\0\x78"), idat(b"\x78" * W), colour=0), "L", WHITE, COMPOSITED),
    "LA half": (png(W, H, idat(b"\x00\x80" * W), colour=4), "LA", (127, 127, 127), COMPOSITED),
    "LA opaque": (png(W, H, idat(b"\x78\xff" * W), colour=4), "LA", GREY, ()),
    "LA of 16 bits": (png(W, H, idat(b"\x78\x00\xff\xff" * W), depth=16, colour=4), "RGBA", GREY, ()),
    "La half": (tiff(W, H, (8, 8), 1, flat(64, 128), extra=1), "La", (191, 191, 191), COMPOSITED),
    "P": (png(W, H, chunk(b"PLTE", bytes(RED)), idat(b"\0" * W), colour=3), "P", RED, ()),
    "P clear": (
        png(W, H, chunk(b"PLTE", bytes(RED)), chunk(b"tRNS", b"\0"), idat(b"\0" * W), colour=3),
        "P", WHITE, COMPOSITED),
    "P half": (
        png(W, H, chunk(b"PLTE", bytes(6)), chunk(b"tRNS", b"\x80\xff"), idat(b"\0" * W), colour=3),
        "P", (127, 127, 127), COMPOSITED),
    "P of TIFF": (tiff(W, H, (8,), 3, flat(1), colours=PALETTE), "P", RED, ()),
    "PA": (tiff(W, H, (8, 8), 3, flat(1, 0), colours=PALETTE, extra=2), "PA", WHITE, COMPOSITED),
    "RGB": (png(W, H, idat(bytes(RED) * W)), "RGB", RED, ()),
    "RGB transparent": (
        png(W, H, chunk(b"tRNS", b"\0\xc8\0\x1e\0\x1e"), idat(bytes(RED) * W)), "RGB", WHITE, COMPOSITED),
    "RGB of 16 bits": (png(W, H, idat(b"\xc8\xff\x1e\xff\x1e\xff" * W), depth=16), "RGB", RED, ()),
    "RGB and an unused band": (tiff(W, H, (8,) * 4, 2, flat(*RED, 7), extra=0), "RGB", RED, ()),
    "RGBA half": (png(W, H, idat(b"\xff\0\0\x80" * W), colour=6), "RGBA", (255, 127, 127), COMPOSITED),
    "RGBA opaque": (png(W, H, idat(bytes((*RED, 255)) * W), colour=6), "RGBA", RED, ()),
    "RGBA premultiplied": (tiff(W, H, (8,) * 4, 2, flat(128, 0, 0, 128), extra=1), "RGBA", (255, 127, 127), COMPOSITED),
    "I;16": (png(W, H, idat(b"\x78\xff" * W), depth=16, colour=0), "I;16", GREY, REDUCED),
    "I;16 of TIFF": (tiff(W, H, (16,), 1, flat(0x78FF, kind="<u2")), "I;16", GREY, REDUCED),
    "I;16B": (tiff(W, H, (16,), 1, flat(0x78FF, kind=">u2"), ">"), "I;16B", GREY, REDUCED),
    "I;16 where zero is white": (tiff(W, H, (16,), 0, flat(0x87FF, kind="<u2")), "I;16", GREY, REDUCED),
    "12 bits": (tiff(W, H, (12,), 1, b"\x78\xf7\x8f" * (W * H // 2)), "I;16", GREY, REDUCED),
    "CMYK": (tiff(W, H, (8,) * 4, 5, flat(55, 225, 225, 0)), "CMYK", RED, ()),
    "YCbCr": (tiff(W, H, (8,) * 3, 6, flat(76, 85, 255)), "YCbCr", (254, 0, 0), ()),
    "LAB white": (tiff(W, H, (8,) * 3, 8, flat(255, 0, 0)), "LAB", WHITE, ()),
    "LAB red": (tiff(W, H, (8,) * 3, 8, flat(138, 81, 70)), "LAB", (255, 0, 0), ()),
}  # fmt: skip


@pytest.mark.parametrize(("data", "mode", "pixel", "warnings"), FILES.values(), ids=FILES)
def test_every_mode_has_its_way_to_rgb(
    data: bytes, mode: str, pixel: tuple[int, int, int], warnings: tuple[str, ...]
) -> None:
    found = read(data)
    assert (found.mode, found.image.mode, found.warnings) == (mode, "RGB", warnings)
    tolerance = {"LAB": 5, "YCbCr": 1}.get(mode, 0)
    colours = np.asarray(found.image).reshape(-1, 3)
    assert np.abs(colours.astype(int) - pixel).max() <= tolerance, colours[0]


MEMORY_ONLY = {"RGBa", "RGBX", "I;16L", "I;16N"}


@pytest.mark.parametrize("mode", sorted(MEMORY_ONLY))
def test_the_modes_that_no_file_gives_have_a_way_too(mode: str) -> None:
    converted, _ = colour.to_rgb(Image.new(mode, (W, H)))
    assert (converted.mode, converted.size) == ("RGB", (W, H))


def test_the_table_of_modes_is_tested_whole() -> None:
    assert {mode for _, mode, _, _ in FILES.values()} | MEMORY_ONLY == set(colour.FLATTEN)


@pytest.mark.parametrize(
    "data",
    [
        pytest.param(tiff(W, H, (32,), 1, flat(1, kind="<f4"), sample_format=3), id="F"),
        pytest.param(tiff(W, H, (32,), 1, flat(1, kind="<i4"), sample_format=2), id="I"),
        pytest.param(tiff(W, H, (16,), 1, flat(1, kind="<i2"), sample_format=2), id="I of 16 bits with a sign"),
    ],
)
def test_a_mode_without_a_range_is_refused(data: bytes) -> None:
    with pytest.raises(ImageModeUnsupported):
        read(data)


def test_sixteen_bits_are_scaled_and_not_clipped() -> None:
    ramp = np.linspace(0, 65535, 256).astype(np.uint16).reshape(W, H)
    found = np.asarray(read(encode(Image.fromarray(ramp), "PNG")).image)
    np.testing.assert_array_equal(found[..., 0], ramp >> 8)


def test_a_cmyk_jpeg_of_adobes_kind_has_its_own_colours() -> None:
    found = read(encode(upright_image("CMYK"), "JPEG", quality=95))
    assert found.mode == "CMYK"
    assert np.abs(np.asarray(found.image).astype(int) - upright()).max() <= 16


# Profiles --------------------------------------------------------------------------------------------------------


def profile(name: Literal["sRGB", "LAB"] = "sRGB") -> bytes:
    return ImageCms.ImageCmsProfile(ImageCms.createProfile(name)).tobytes()


def red_is_green() -> bytes:
    """Return an RGB profile with two primaries swapped, so that its effect is visible."""
    renamed = profile().replace("sRGB".encode("utf-16-be"), "Mine".encode("utf-16-be"))
    return renamed.replace(b"rXYZ", b"tmpX").replace(b"gXYZ", b"rXYZ").replace(b"tmpX", b"gXYZ")


def test_an_srgb_picture_stays_as_it_is() -> None:
    found = read(encode(upright_image(), "PNG", icc_profile=profile()))
    np.testing.assert_array_equal(np.asarray(found.image), upright())
    assert found.warnings == ()


def linear(name: str) -> bytes:
    """Return a profile of sRGB's primaries without its curve, which has that description (ICC.1:2001-04, 6.5.17)."""
    text = name.encode() + b"\0"
    description = b"desc\0\0\0\0" + struct.pack(">I", len(text)) + text + bytes(4 + 4 + 2 + 1 + 67)
    primaries = {"rXYZ": (0.4360, 0.2225, 0.0139), "gXYZ": (0.3851, 0.7169, 0.0971), "bXYZ": (0.1431, 0.0606, 0.7141)}
    points = {
        tag: b"XYZ \0\0\0\0" + struct.pack(">3i", *(round(each * 65536) for each in xyz))
        for tag, xyz in {**primaries, "wtpt": (0.9642, 1.0, 0.8249)}.items()
    }
    curve = b"curv\0\0\0\0" + struct.pack(">IH", 1, 256)
    return made_profile(b"RGB ", b"XYZ ", desc=description, **points, rTRC=curve, gTRC=curve, bTRC=curve)


@pytest.mark.parametrize("name", ["sRGB-elle-V2-g10.icc", "sRGB built-in linear", "linear"])
def test_a_profile_that_is_only_called_srgb_is_used(name: str) -> None:
    found = read(encode(upright_image(), "PNG", icc_profile=linear(name)))
    assert np.asarray(found.image)[23, 31].tolist() == pytest.approx([181] * 3, abs=2)


def gamma(value: float, *, more: bytes = b"", mode: str = "RGB") -> DecodedImage:
    written = encode(upright_image(mode), "PNG")
    head = chunk(b"gAMA", struct.pack(">I", round(value * 100_000))) + more
    return read(written[:33] + head + written[33:])


@pytest.mark.parametrize("mode", ["RGB", "L", "LA", "RGBA"])
def test_a_png_with_another_gamma_is_shown_as_browsers_show_it(mode: str) -> None:
    linear_grey = 255 * (120 / 255) ** (1 / 2.2)
    assert np.asarray(gamma(1.0, mode=mode).image)[23, 31].tolist() == pytest.approx([linear_grey] * 3, abs=1)


@pytest.mark.skipif(not CORPUS.is_dir(), reason="../shared/data/odd-images is missing")
@pytest.mark.parametrize("kind", ["n0g16", "n2c08", "n3p04"])
def test_pngsuites_files_of_one_picture_in_several_gammas_look_alike(kind: str) -> None:
    files = [CORPUS / f"image-png/tests/pngsuite/g{name}{kind}.png" for name in ("03", "05", "07", "10", "25")]
    means = [np.asarray(read(file.read_bytes()).image).mean() for file in files if file.exists()]
    assert len(means) > 1
    assert max(means) - min(means) < 3


def test_a_gamma_like_srgbs_or_beside_a_colour_space_changes_nothing() -> None:
    for found in (gamma(1 / 2.2), gamma(0.44), gamma(0.0), gamma(1.0, more=chunk(b"sRGB", b"\0"))):
        np.testing.assert_array_equal(np.asarray(found.image), upright())


def test_another_rgb_space_is_brought_to_srgb() -> None:
    found = read(encode(upright_image(), "PNG", icc_profile=red_is_green()))
    red_and_green_swapped = upright()[..., [1, 0, 2]].astype(int)
    assert np.abs(np.asarray(found.image) - red_and_green_swapped).max() <= 2
    assert found.warnings == ()


def test_a_grey_space_is_brought_to_srgb() -> None:
    found = read(encode(upright_image("L"), "PNG", icc_profile=grey_profile(1.0)))
    linear = np.asarray(upright_image("L")) / 255
    srgb = np.where(linear <= 0.0031308, 12.92 * linear, 1.055 * linear ** (1 / 2.4) - 0.055) * 255
    assert np.abs(np.asarray(found.image).astype(int) - srgb[..., None]).max() <= 1.5
    assert found.warnings == ()


def test_inks_are_brought_to_srgb() -> None:
    found = read(tiff(W, H, (8,) * 4, 5, flat(255, 0, 0, 0)))
    assert found.image.getpixel((0, 0)) == (0, 255, 255)
    cyan = Image.new("CMYK", (W, H), (255, 0, 0, 0))
    found = read(encode(cyan, "TIFF", icc_profile=black_ink_profile()))
    assert found.image.getpixel((0, 0)) == (0, 0, 0)
    assert found.warnings == ()


def test_alpha_is_laid_on_white_before_the_profile_speaks() -> None:
    image = upright_image("RGBA")
    image.putalpha(0)
    found = read(encode(image, "PNG", icc_profile=red_is_green()))
    assert np.asarray(found.image).min() >= 253
    assert found.warnings == COMPOSITED


@pytest.mark.parametrize(
    ("mode", "icc"),
    [
        pytest.param("RGB", lambda: b"not a profile", id="no profile at all"),
        pytest.param("RGB", lambda: profile()[:200], id="a truncated profile"),
        pytest.param("L", profile, id="an RGB profile on grey pixels"),
        pytest.param("RGB", black_ink_profile, id="a CMYK profile on RGB pixels"),
        pytest.param("RGB", lambda: profile("LAB"), id="a Lab profile on RGB pixels"),
        pytest.param("RGB", lambda: profile() + bytes(colour.MAX_PROFILE_BYTES), id="more than a megabyte"),
    ],
)
def test_a_profile_that_cannot_be_used_is_ignored_and_told(mode: str, icc: Callable[[], bytes]) -> None:
    found = read(encode(upright_image(mode), "TIFF", icc_profile=icc()))
    np.testing.assert_array_equal(np.asarray(found.image), np.asarray(upright_image(mode).convert("RGB")))
    assert found.warnings == (colour.PROFILE_IGNORED,)
