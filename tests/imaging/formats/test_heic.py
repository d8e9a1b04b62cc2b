"""HEIC, with and without its package."""

import base64
import importlib.util

import numpy as np
import pytest

from service.errors import ImageCorrupt, ImageTooLarge, UnsupportedMediaType
from service.imaging import decoder, image_header
from service.imaging.formats import heic
from tests.odd_images import upright

# `odd_images.upright` in HEVC, 4:4:4, written by x265. No package that the tests install can write HEIC.
UPRIGHT = base64.b64decode(
    "AAAAHGZ0eXBoZWl4AAAAAG1pZjFoZWl4bWlhZgAAAXxtZXRhAAAAAAAAACFoZGxyAAAAAAAAAABwaWN0AAAAAAAAAAAAAAAAAAAA"
    "ACJpbG9jAAAAAERAAAEAAQAAAAABoAABAAAAAAAAAYgAAAAjaWluZgAAAAAAAQAAABVpbmZlAgAAAAABAABodmMxAAAAAA5waXRt"
    "AAAAAAABAAAA/GlwcnAAAADcaXBjbwAAAHdodmNDAQQIAAAAAAAAAAAAHvAA/P/4+AAADwNgAAEAF0ABDAH//wQIAAADAJ44AAAD"
    "AAAeugJAYQABACpCAQEECAAAAwCeOAAAAwAAHpAEECCy3VXTXNwENBgQAAADAZAAAAMAEIBiAAEACEQBwXMYMBiQAAAAE2NvbHJu"
    "Y2x4AAEADQAGgAAAABRpc3BlAAAAAAAAAEAAAABAAAAAKGNsYXAAAAAgAAAAAQAAABgAAAAB////4AAAAAL////YAAAAAgAAAA5w"
    "aXhpAAAAAAEIAAAAGGlwbWEAAAAAAAAAAQABBYECAwWEAAABkG1kYXQAAAGEKAGvBjIIp0hEgF6xwY1fZ4bdrjKj3HcTG5Ubzi0a"
    "K9Z4HhXz/cho4MGnydV9/TlYZflJ1Yh+ptWhZv04b//cczfZdM+OFFwg9rX9lASaPDK5fkOKD/7JFbGDp/gxXarx/vBv/rjao0Q8"
    "SeCA0Zte3gpQpDocZnXNZSww2WWvfjgLGCTs2n6MGmEEZjSxbOypmnJnI/n5v41Dsjmcv4R/h/hqZxaCA0/e5RWRPS83IjXvSk4+"
    "s1YYb6v1b+Hv2fZ+poYaZGN3bGrLafzyRxx3Gn0xbSt477vbp+5+c/qsBHjWXLENIUaUITU7/vPZavhFyHIrfPvnwtPfyIABDyFt"
    "6yq6ojVXrkWQkbMKhmKVURWJQBTaqqPEHQz7LD4k0ScDc/bvvFZLenvMIN3BdgBe522RXN8jh3HHv35Zh9T3uMACUtVIEKOLzrVO"
    "XZdHd5NSAAH3Tcvjb9TyYKIV5UgAPum5fG36nkwUQrvzz9knk7IeRl0GhpzCxe8Lu8dYUGTdzKtsgA=="
)

reads = pytest.mark.skipif(not heic.installed(), reason="pi-heif, of the extra heic, is not installed")


def test_heic_is_known_by_its_first_bytes_and_an_avif_is_none() -> None:
    assert decoder.sniff(UPRIGHT) == "HEIC"
    assert decoder.sniff(b"\0\0\0\x18ftypmif1\0\0\0\0mif1avif") == "AVIF"
    assert image_header.pixels("HEIC", UPRIGHT) == 64 * 64  # as coded; the image is a crop of it


@reads
def test_a_heic_is_decoded_as_others_are() -> None:
    found = decoder.decode(UPRIGHT, decoder.ImageLimits())

    assert (found.format, found.mode, found.width, found.height, found.warnings) == ("HEIC", "RGB", 32, 24, ())
    assert np.abs(np.asarray(found.image).astype(int) - upright()).mean() < 6


@reads
def test_it_is_held_to_the_limits_before_it_is_decoded() -> None:
    with pytest.raises(ImageTooLarge):
        decoder.decode(UPRIGHT, decoder.ImageLimits(max_pixels=700))


@reads
@pytest.mark.parametrize("end", [40, 300, 500, 700, -1])
def test_one_that_is_cut_off_is_corrupt(end: int) -> None:
    with pytest.raises(ImageCorrupt):
        decoder.decode(UPRIGHT[:end], decoder.ImageLimits())


def test_it_is_among_the_accepted_formats_where_it_can_be_read() -> None:
    assert ("HEIC" in decoder.accepted_formats()) is (importlib.util.find_spec("pi_heif") is not None)


def test_without_its_package_the_refusal_names_the_package() -> None:
    with pytest.raises(UnsupportedMediaType, match=r"package pi-heif") as raised:
        heic.plugin(["JPEG"], package="a_package_that_is_not_there")

    assert raised.value.members["accepted"] == ["JPEG"]
